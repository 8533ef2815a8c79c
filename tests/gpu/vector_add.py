"""What runs in the pods of the check: adds two vectors on the first GPU that it sees, and tells what it saw.

It needs the driver alone. After one line of JSON it keeps its device for as many seconds as its argument says.
"""

import ctypes
import json
import os
import pathlib
import sys
import time
import uuid

N, BLOCK = 1 << 20, 256

KERNEL = b"""
.version 7.0
.target sm_70
.address_size 64
.visible .entry add(.param .u64 pa, .param .u64 pb, .param .u64 pc)
{
  .reg .b32 %r<5>; .reg .f32 %f<4>; .reg .b64 %d<8>;
  ld.param.u64 %d1, [pa]; ld.param.u64 %d2, [pb]; ld.param.u64 %d3, [pc];
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;
  mad.lo.u32 %r4, %r1, %r2, %r3;
  mul.wide.u32 %d4, %r4, 4;
  add.u64 %d5, %d1, %d4; add.u64 %d6, %d2, %d4; add.u64 %d7, %d3, %d4;
  ld.global.f32 %f1, [%d5]; ld.global.f32 %f2, [%d6];
  add.f32 %f3, %f1, %f2;
  st.global.f32 [%d7], %f3;
  ret;
}
"""


def call(name: str, *arguments: object) -> None:
    code = getattr(cuda, name)(*arguments)
    assert code == 0, f"{name} gives {code}"


def add() -> bool:
    """Whether the GPU's sums are right, all of them."""
    context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), 0)
    call("cuCtxSetCurrent", context)
    call("cuModuleLoadData", ctypes.byref(module), KERNEL)
    call("cuModuleGetFunction", ctypes.byref(function), module, b"add")
    size = ctypes.c_size_t(4 * N)
    vectors = [(ctypes.c_float * N)(*range(N)), (ctypes.c_float * N)(*([2.0] * N)), (ctypes.c_float * N)()]
    places = [ctypes.c_uint64() for _ in vectors]
    for vector, place in zip(vectors, places, strict=True):
        call("cuMemAlloc_v2", ctypes.byref(place), size)
        call("cuMemcpyHtoD_v2", place, vector, size)
    arguments = (ctypes.c_void_p * 3)(*(ctypes.addressof(place) for place in places))
    call("cuLaunchKernel", function, N // BLOCK, 1, 1, BLOCK, 1, 1, 0, None, arguments, None)
    call("cuMemcpyDtoH_v2", vectors[2], places[2], size)
    return all(total == number + 2 for number, total in enumerate(vectors[2]))


nodes = sorted(path.name for path in pathlib.Path("/dev").glob("nvidia*"))
seen = {"nodes": nodes, "visible": os.environ.get("NVIDIA_VISIBLE_DEVICES"), "gpus": []}
try:
    cuda = ctypes.CDLL("libcuda.so.1")
    call("cuInit", 0)
except (OSError, AssertionError) as error:
    seen["why"] = str(error)
else:
    count, key = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    call("cuDeviceGetCount", ctypes.byref(count))
    for device in range(count.value):
        call("cuDeviceGetUuid_v2", ctypes.byref(key), device)
        seen["gpus"].append(f"GPU-{uuid.UUID(bytes=bytes(key))}")
    seen["sum"] = add()
print(json.dumps(seen), flush=True)
time.sleep(float(sys.argv[1]))
