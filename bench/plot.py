#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.


"""Draw the times of all variants, as ratios to the bare PUT.

``python -m bench.plot FILE.svg``, in the environment that has matplotlib;
reads a JSON list of shape, variant, ratio and colour from its standard input.
"""

import json
import sys

import matplotlib
from matplotlib import figure

# One place per shape, of which the bars take so much.
BARS = 0.84


def main(argv: list[str]) -> int:
    """Draw the picture."""
    rows = json.load(sys.stdin)
    shapes = list(dict.fromkeys(shape for shape, *_ in rows))
    colours = {variant: colour for _, variant, _, colour in rows}
    # The same numbers make the same file.
    matplotlib.rcParams.update({'svg.hashsalt': 'bench',
                                'svg.fonttype': 'none',
                                'font.family': 'sans-serif'})
    drawn = figure.Figure(figsize=(9, 4.5), layout='constrained')
    axes = drawn.subplots()
    width = BARS / len(colours)
    for number, (variant, colour) in enumerate(colours.items()):
        heights = {shape: ratio for shape, one, ratio, _ in rows
                   if one == variant}
        places = [at - BARS / 2 + width * (number + 0.5)
                  for at, shape in enumerate(shapes) if shape in heights]
        bars = axes.bar(places, heights.values(), width * 0.9, label=variant,
                        color=colour)
        axes.bar_label(bars, fmt='%.2f', fontsize=7, padding=1)
    axes.axhline(1, color='black', linewidth=0.6)
    axes.set_xticks(range(len(shapes)), shapes)
    axes.set_ylabel('time, in bare PUTs')
    axes.legend(ncols=len(colours), loc='upper center', fontsize=8,
                bbox_to_anchor=(0.5, 1.12), frameon=False)
    axes.spines[['top', 'right']].set_visible(False)
    drawn.savefig(argv[0], metadata={'Date': None})
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
