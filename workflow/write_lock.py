"""Print the packages of this environment as pins, one a line, without local version labels."""

from importlib.metadata import distributions

OWN = {"leadmin", "pip"}

print("# Exact versions that the study was developed and tested with; made by `make lock`.")
print("# torch: a CPU or CUDA build, whichever the package index serves for this machine.")
pins = {}
for distribution in distributions():
    name = distribution.metadata["Name"].lower().replace("_", "-")
    # nvidia-* and triton belong to the CUDA build of torch, which asks for them by itself.
    if name not in OWN and not name.startswith(("nvidia-", "triton", "cuda-")):
        pins[name] = distribution.version.partition("+")[0]
for name in sorted(pins):
    print(f"{name}=={pins[name]}")
