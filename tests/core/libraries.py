"""Libraries with threads of their own, as they are found in a process."""

from asyncjit._core.blas import Library

NUMPYS = Library(
    user_api="blas",
    internal_api="openblas",
    version="0.3.31",
    threading_layer="pthreads",
    architecture="SkylakeX",
    filepath="/opt/lib/python/site-packages/numpy.libs/libscipy_openblas64_-56d6093b.so",
    num_threads=1,
    held_at=None,
    holder=None,
)
