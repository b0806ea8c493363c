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

"""Where Nova keeps the images that its guests' disks are made from."""

from oslo_config import cfg

GROUP = cfg.OptGroup('image_cache', title='Image cache options')

OPTS: list[cfg.Opt] = [
    cfg.StrOpt('subdirectory_name',
               default='_base',
               deprecated_name='image_cache_subdirectory_name',
               deprecated_group='DEFAULT',
               help="""
The directory below ``instances_path`` in which Nova caches images.

The guest is not affected. The disk of a guest that Nova made before release
21 does not name the format of the cached image that it was made from. As no
guest can write there, the snapshot of a guest that is off takes the format
that such an image shows.

Possible values:

* The name of a directory, relative to ``instances_path``.

Related options:

* ``instances_path``
"""),
]
