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

import ctypes
import ctypes.util

import ddt
import libvirt
from oslotest import base

from nova_snap import errors
from nova_snap.hypervisor import errors as hypervisor_errors


def libvirt_error(code, message='no'):
    """Return what libvirt-python raises for one of libvirt's codes."""
    error = libvirt.libvirtError(message)
    error.err = (code, 0, message, 2, None, None, None, -1, -1)
    return error


def _translate(raised, call='blockCopy'):
    with hypervisor_errors.translated('an-instance', call):
        raise raised


@ddt.ddt
class TranslatedTestCase(base.BaseTestCase):

    @ddt.named_data(
        ['no such domain', 'VIR_ERR_NO_DOMAIN', errors.DomainGone],
        ['no agent', 'VIR_ERR_AGENT_UNRESPONSIVE', errors.QuiesceFailed],
        ['an agent that answers something else', 'VIR_ERR_AGENT_UNSYNCED',
         errors.QuiesceFailed],
        ['a state in which it is not done', 'VIR_ERR_OPERATION_INVALID',
         errors.HypervisorError],
        ['a connection that broke', 'VIR_ERR_SYSTEM_ERROR',
         errors.HypervisorError],
        ['a lock that another call has', 'VIR_ERR_OPERATION_TIMEOUT',
         errors.HypervisorError],
    )
    def test_a_code_is_an_error_of_ours(self, name, kind):
        code = getattr(libvirt, name)
        raised = libvirt_error(code, 'the reason')
        error = self.assertRaises(kind, _translate, raised)
        self.assertIs(kind, type(error))
        self.assertIn('an-instance', str(error))
        self.assertEqual(('blockCopy', code), (error.call, error.code))
        self.assertEqual('the reason', error.reason)
        self.assertIs(raised, error.__cause__)

    @ddt.data('fsFreeze', 'fsThaw', 'getTime', 'setTime')
    def test_what_an_agent_says_no_to_has_many_codes(self, call):
        for name in ('VIR_ERR_INTERNAL_ERROR', 'VIR_ERR_OPERATION_INVALID',
                     'VIR_ERR_OPERATION_UNSUPPORTED'):
            raised = libvirt_error(getattr(libvirt, name))
            self.assertRaises(errors.QuiesceFailed, _translate, raised,
                              call)

    def test_a_thaw_is_not_called_a_freeze(self):
        for call, kind in (('fsThaw', errors.ThawFailed),
                           ('fsFreeze', errors.QuiesceFailed)):
            error = self.assertRaises(
                kind, _translate, libvirt_error(
                    libvirt.VIR_ERR_AGENT_UNRESPONSIVE), call)
            self.assertIs(kind, type(error))

    def test_a_domain_that_is_gone_is_gone_for_the_agent_too(self):
        self.assertRaises(errors.DomainGone, _translate,
                          libvirt_error(libvirt.VIR_ERR_NO_DOMAIN),
                          'fsThaw')

    def test_an_error_without_a_code_is_translated_too(self):
        self.assertRaises(errors.HypervisorError, _translate,
                          libvirt.libvirtError('no connection'))

    @ddt.data(ValueError(), errors.ImageGone(call='look', reason='x'),
              KeyboardInterrupt())
    def test_what_is_not_libvirt_s_passes(self, raised):
        self.assertIs(raised, self.assertRaises(type(raised), _translate,
                                                raised))

    def test_no_error_passes(self):
        with hypervisor_errors.translated('an-instance', 'blockCopy'):
            pass


# "Refused", as a guest says it whose language is Chinese.
GB2312 = b'agent: \xbe\xdc\xbe\xf8'
TOLD = r'agent: \xbe' + b'\xdc\xbe'.decode() + r'\xf8'


class RawError(ctypes.Structure):
    """virError.

    :source: libvirt/virterror.h
    """

    _fields_ = [
        ('code', ctypes.c_int), ('domain', ctypes.c_int),
        ('message', ctypes.c_char_p), ('level', ctypes.c_int),
        ('conn', ctypes.c_void_p), ('dom', ctypes.c_void_p),
        ('str1', ctypes.c_char_p), ('str2', ctypes.c_char_p),
        ('str3', ctypes.c_char_p), ('int1', ctypes.c_int),
        ('int2', ctypes.c_int), ('net', ctypes.c_void_p)]


class NoUtf8TestCase(base.BaseTestCase):
    """What libvirt passes on from a guest need not be text."""

    def test_what_the_binding_raises_is_translated(self):
        library = ctypes.CDLL(ctypes.util.find_library('virt'))
        library.virSetError(ctypes.byref(RawError(
            code=libvirt.VIR_ERR_INTERNAL_ERROR, message=GB2312,
            level=libvirt.VIR_ERR_ERROR)))
        self.addCleanup(library.virResetLastError)

        def fail():
            with hypervisor_errors.translated('an-instance', 'fsFreeze'):
                raise libvirt.libvirtError('virDomainFSFreeze() failed')

        error = self.assertRaises(errors.QuiesceFailed, fail)
        self.assertIn(TOLD, str(error))

    def test_what_python_calls_a_system_error_is_translated(self):
        raised = SystemError('returned a result with an exception set')
        raised.__cause__ = UnicodeDecodeError('utf-8', GB2312, 7, 8, 'no')
        error = self.assertRaises(errors.ThawFailed, _translate, raised,
                                  'fsThaw')
        self.assertIn(TOLD, str(error))
        self.assertIsNone(error.code)

    def test_a_name_that_is_none_is_translated(self):
        raised = UnicodeDecodeError('utf-8', GB2312, 7, 8, 'no')
        error = self.assertRaises(errors.HypervisorError, _translate, raised,
                                  'name')
        self.assertIs(errors.HypervisorError, type(error))
