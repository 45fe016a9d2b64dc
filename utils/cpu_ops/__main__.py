"""Prints what this CPU has, what the programs compute with on it, and why: python -m utils.cpu_ops."""
import ctypes
import os

import mindspore as ms

from utils.cpu_ops.build import FLAGS, compiler, library, onednn, processor, version
from utils.cpu_ops.speed import BF16, products
from utils.device import CAPPED, MAX_ISA, cap_onednn, uncap_onednn
from utils.errors import run

MATTER = ("avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
          "amx_bf16", "asimd", "bf16", "sve", "i8mm")     # of /proc/cpuinfo: what oneDNN and the compiler choose by


def main() -> None:
    """One line per fact."""
    for name, value in facts().items():
        print(f"{name:<20} {value}", flush=True)


def facts() -> dict[str, str]:
    """{what: what was found}, in the order in which the programs find it."""
    about = processor()
    path = library()
    if path:
        uncap_onednn()
    else:
        cap_onednn()
    limit = next((f"{name}={os.environ[name]}" for name in MAX_ISA if name in os.environ), "")
    reason = "for stock convolutions" if CAPPED in os.environ else "set by you" if limit else "our kernels need no cap"
    made = f"compiled by {version(compiler()).splitlines()[0]} with {' '.join(FLAGS[:3])}" if path else ""
    lines = {
        "processor": f"{about.get('model name', '')}, {len(os.sched_getaffinity(0))} cores for this process",
        "instruction sets": instruction_sets(),
        "kernels": f"{path}, {made}" if path else "MindSpore's own",
        "oneDNN": f"{onednn()}, {limit or 'not capped'} ({reason})",
    }
    if onednn().is_file():
        lines["oneDNN takes"] = effective_isa()
        speed, cores = products(), len(os.sched_getaffinity(0))
        together = products(cores)
        ratio = speed["bfloat16"] / speed["float32"]
        advice = f"{ratio:.2g} of float32" + (f": --amp_level {BF16} pays" if ratio > 1 and path else "")
        for kind, note in (("float32", ""), ("bfloat16", f"; {advice}")):
            found = f"{speed[kind]:.3g} GFLOPS of one core, {together[kind]:.3g} of {cores} together"
            lines[f"{kind} products"] = found + note
    return {"MindSpore": ms.__version__} | lines


def instruction_sets() -> str:
    """Those of this processor that matter here."""
    about = processor()
    flags = about.get("flags", about.get("Features", "")).split()
    return " ".join(name for name in MATTER if name in flags)


def effective_isa() -> str:
    """The name of what oneDNN has decided to use; from now on it is decided."""
    functions = ctypes.CDLL(str(onednn()))
    functions.dnnl_cpu_isa2str.restype = ctypes.c_char_p
    return functions.dnnl_cpu_isa2str(functions.dnnl_get_effective_cpu_isa()).decode()


if __name__ == "__main__":
    run(main)
