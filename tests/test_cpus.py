"""Usable CPUs and thread counts: from the affinity mask, control groups, the environment, arguments."""

import os
import warnings
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from asyncjit.cpus import (
    UsableCpus,
    checked_count,
    count_from_environment,
    default_num_interop_threads,
    default_num_threads,
    usable_cpus,
)
from tests.scripts import check_script

needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux has affinity masks")


class Machine:
    """A file system with control groups, as far as `usable_cpus` looks."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.alone = usable_cpus(root)  # without any control group

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)

    def quota(self) -> float | None:
        """Return the quota that was found, as the source tells it; its CPUs must be the fewer of both."""
        found = usable_cpus(self.root)
        if found == self.alone:
            return None
        source, _, rest = found.source.partition(" ∩ cgroup quota ")
        assert source == self.alone.source
        limit = float(rest.split(" ")[0])
        assert found.count == max(1, min(self.alone.count, int(np.ceil(limit))))
        return limit


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return an empty machine."""
    return Machine(tmp_path)


# -- the affinity mask


@needs_affinity
def test_without_control_groups_the_affinity_mask_counts(machine: Machine) -> None:
    count = len(os.sched_getaffinity(0))
    assert machine.alone == UsableCpus(count, f"affinity {count}")


@needs_affinity
def test_a_smaller_mask_shows_at_once() -> None:
    check_script(
        """
        import os
        from pathlib import Path
        from asyncjit.cpus import UsableCpus, usable_cpus
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        assert usable_cpus(Path("/nowhere")) == UsableCpus(1, "affinity 1")
        assert usable_cpus().count == 1
        """
    )


def test_a_system_without_masks_counts_all_its_cpus() -> None:
    check_script(
        """
        import os
        from pathlib import Path
        from asyncjit.cpus import usable_cpus
        if hasattr(os, "sched_getaffinity"):
            del os.sched_getaffinity
        os.cpu_count = lambda: 12
        assert str(usable_cpus(Path("/nowhere"))) == "UsableCpus(count=12, source='os.cpu_count() 12')"
        os.cpu_count = lambda: None
        assert usable_cpus(Path("/nowhere")).count == 1
        """
    )


def test_a_system_that_refuses_to_tell_the_mask_counts_all_its_cpus() -> None:
    check_script(
        """
        import os
        from pathlib import Path
        from asyncjit.cpus import usable_cpus
        def refuse(pid):
            raise PermissionError
        os.sched_getaffinity, os.cpu_count = refuse, lambda: 12
        assert usable_cpus(Path("/nowhere")).count == 12
        """
    )


# -- control groups, version 2


@pytest.mark.parametrize(
    ("content", "quota"),
    [
        ("50000 100000\n", 0.5),
        ("100000 100000\n", 1.0),
        ("150000 100000\n", 1.5),
        ("6400000 100000\n", 64.0),
        ("250000 1000000", 0.25),
        ("1 100000\n", 1e-5),
        ("150000\n", 1.5),  # the period is 100 ms if it is not told
        ("  150000\t100000  more words\n", 1.5),
    ],
)
def test_a_quota_of_version_2_is_read(machine: Machine, content: str, quota: float) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/cgroup/cpu.max", content)
    assert machine.quota() == quota


ODD = ["", "\n", "max", "no number", "-1 100000", "0 100000", "100000 0", "nan 100000", "100000 nan", "inf 100000"]
ODD += ["100000 inf", "100000 -100000", "1e400 1", "100000 many", "0x10 0x10", "１\x00", "\x00\x00", "\x1c\x1d"]


@pytest.mark.parametrize("content", ["max 100000\n", "max max", *ODD], ids=ascii)
def test_a_file_of_version_2_that_tells_no_quota_sets_none(machine: Machine, content: str) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("sys/fs/cgroup/cpu.max", content)
    assert machine.quota() is None


def test_the_quota_of_the_processs_own_group_is_found(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/user.slice/job:7/step\n")
    machine.write("sys/fs/cgroup/user.slice/job:7/step/cpu.max", "70000 100000")
    machine.write("sys/fs/cgroup/user.slice/other/cpu.max", "10000 100000")
    assert machine.quota() == 0.7
    assert usable_cpus(machine.root).source.endswith("user.slice/job:7/step/cpu.max)"), "the source names the file"


@pytest.mark.parametrize("smallest", ["", "/a", "/a/b"], ids=["the root's", "the parent's", "its own"])
def test_the_smallest_quota_on_the_way_up_counts(machine: Machine, smallest: str) -> None:
    machine.write("proc/self/cgroup", "0::/a/b\n")
    for group in ("", "/a", "/a/b"):
        machine.write(f"sys/fs/cgroup{group}/cpu.max", "30000 100000" if group == smallest else "90000 100000")
    assert machine.quota() == 0.3


def test_a_group_whose_path_is_the_hosts_is_looked_for_at_the_mount(machine: Machine) -> None:
    """In a container the path is told as the host sees it, and what is mounted is the container's own group."""
    machine.write("proc/self/cgroup", "0::/../../docker/0123456789abcdef\n")
    machine.write("sys/fs/cgroup/cpu.max", "50000 100000")
    assert machine.quota() == 0.5


# -- version 1


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("group", ["", "/docker/0123"])
def test_a_quota_of_version_1_is_read(machine: Machine, mount: str, controllers: str, group: str) -> None:
    machine.write("proc/self/cgroup", f"9:memory:/x\n3:{controllers}:/docker/0123\n1:name=systemd:/init\n")
    machine.write(f"sys/fs/cgroup/{mount}{group}/cpu.cfs_quota_us", "75000\n")
    machine.write(f"sys/fs/cgroup/{mount}{group}/cpu.cfs_period_us", "100000\n")
    assert machine.quota() == 0.75


@pytest.mark.parametrize("content", ["-1\n", "max", *ODD], ids=ascii)
@pytest.mark.parametrize("file", ["cpu.cfs_quota_us", "cpu.cfs_period_us"])
def test_a_file_of_version_1_that_tells_no_quota_sets_none(machine: Machine, file: str, content: str) -> None:
    machine.write("proc/self/cgroup", "3:cpu:/\n")
    for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"):
        machine.write(f"sys/fs/cgroup/cpu/{name}", "50000\n")
    machine.write(f"sys/fs/cgroup/cpu/{file}", content)
    assert machine.quota() is None


@pytest.mark.parametrize("file", ["cpu.cfs_quota_us", "cpu.cfs_period_us"])
def test_half_of_a_quota_of_version_1_is_none(machine: Machine, file: str) -> None:
    machine.write("proc/self/cgroup", "3:cpu:/\n")
    machine.write(f"sys/fs/cgroup/cpu/{file}", "50000\n")
    assert machine.quota() is None


def test_where_both_versions_are_mounted_the_smaller_quota_counts(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "3:cpu:/a\n0::/b\n")
    machine.write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "60000")
    machine.write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/b/cpu.max", "90000 100000")
    assert machine.quota() == 0.6
    machine.write("sys/fs/cgroup/b/cpu.max", "20000 100000")
    assert machine.quota() == 0.2


def test_the_groups_of_other_controllers_are_not_asked(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "4:cpuset:/\n5:cpuacct:/\n")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000")
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    machine.write("sys/fs/cgroup/cpu.max", "50000 100000")
    assert machine.quota() is None


# -- whatever there is


@pytest.mark.parametrize("content", ["", None], ids=["empty", "missing"])
def test_without_a_list_of_groups_the_roots_count(machine: Machine, content: str | None) -> None:
    if content is not None:
        machine.write("proc/self/cgroup", content)
    machine.write("sys/fs/cgroup/cpu.max", "50000 100000")
    assert machine.quota() == 0.5


def test_a_folder_in_a_files_place_is_no_quota(machine: Machine) -> None:
    (machine.root / "proc/self/cgroup").mkdir(parents=True)
    (machine.root / "sys/fs/cgroup/cpu.max").mkdir(parents=True)
    assert machine.quota() is None


words = st.sampled_from(
    ["0::/", "3:cpu:/", "cpu", ":", "/", "..", "a", "\n", "\0", "max", "-1", "100000", " ", "x" * 300]
)
contents = st.one_of(st.lists(words).map("".join).map(str.encode), st.binary())


@hypothesis.given(groups=contents, unified=contents, quota=contents, period=contents)
@hypothesis.example(groups=b"0::/a\0b", unified=b"", quota=b"", period=b"")
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_no_content_of_the_files_is_an_error(
    machine: Machine, groups: bytes, unified: bytes, quota: bytes, period: bytes
) -> None:
    machine.write("proc/self/cgroup", groups)
    machine.write("sys/fs/cgroup/cpu.max", unified)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    machine.write("sys/fs/cgroup/cpu/cpu.cfs_period_us", period)
    assert 1 <= usable_cpus(machine.root).count <= machine.alone.count


# -- the environment


def test_the_first_variable_that_holds_a_count_counts() -> None:
    environ = {"B": "3", "C": "4"}
    assert count_from_environment(["A", "B", "C"], environ) == (3, "B")
    assert count_from_environment(["C", "B"], environ) == (4, "C")
    assert count_from_environment(["A"], environ) is None


@pytest.mark.parametrize(("text", "count"), [("5", 5), (" 5\n", 5), ("+5", 5), ("05", 5), ("5,2,1", 5), ("5 , 2", 5)])
def test_a_count_may_be_spaced_or_head_a_list(text: str, count: int) -> None:
    assert count_from_environment(["N"], {"N": text}) == (count, "N")


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_an_empty_variable_is_like_none(text: str) -> None:
    assert count_from_environment(["N", "M"], {"N": text, "M": "2"}) == (2, "M")


@pytest.mark.parametrize(
    "text", ["0", "-3", "many", "2.0", "1e3", ",4", "0,4", "4 threads", "True", "9" * 5000], ids=len
)
def test_a_bad_value_warns_of_the_variable_and_the_value_and_is_ignored(text: str) -> None:
    with pytest.warns(RuntimeWarning) as told:
        assert count_from_environment(["N", "M"], {"N": text, "M": "2"}) == (2, "M")
    assert [str(warning.message) for warning in told] == [f"N={text!r} is no positive integer and is ignored"]


def test_each_bad_value_warns() -> None:
    with pytest.warns(RuntimeWarning) as told:
        assert count_from_environment(["N", "M"], {"N": "0", "M": "x"}) is None
    assert [str(warning.message).split(" ")[0] for warning in told] == ["N='0'", "M='x'"]


def test_a_bad_value_behind_a_good_one_is_not_looked_at() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert default_num_threads({"MKL_NUM_THREADS": "6", "OMP_NUM_THREADS": "x"}, 4) == 6


def test_the_inter_op_count_has_a_variable_of_its_own() -> None:
    others = {"MKL_NUM_THREADS": "97", "OMP_NUM_THREADS": "98"}
    assert default_num_interop_threads({"ASYNCJIT_NUM_INTEROP_THREADS": "99", **others}) == 99
    assert default_num_interop_threads(others) == usable_cpus().count


def test_mkls_variable_goes_before_openmps_and_both_before_the_cpus() -> None:
    assert default_num_threads({"OMP_NUM_THREADS": "98", "MKL_NUM_THREADS": "97"}, 4) == 97
    assert default_num_threads({"OMP_NUM_THREADS": "98"}, 4) == 98
    assert default_num_threads({"ASYNCJIT_NUM_INTEROP_THREADS": "99"}, 4) == 4


def test_where_the_variables_hold_nothing_good_the_cpus_count() -> None:
    with pytest.warns(RuntimeWarning, match=r"^MKL_NUM_THREADS='x' is no positive integer and is ignored$"):
        assert default_num_threads({"MKL_NUM_THREADS": "x"}, 4) == 4
    with pytest.warns(
        RuntimeWarning, match=r"^ASYNCJIT_NUM_INTEROP_THREADS='-1' is no positive integer and is ignored$"
    ):
        assert default_num_interop_threads({"ASYNCJIT_NUM_INTEROP_THREADS": "-1"}) == usable_cpus().count


# -- arguments


class Seven:
    """Not an int, but an integer."""

    def __index__(self) -> int:
        return 7


@pytest.mark.parametrize("value", [7, np.int8(7), np.uint64(7), np.array(7), Seven()], ids=repr)
def test_every_kind_of_integer_is_a_count(value: Any) -> None:
    count = checked_count(value, "num_threads")
    assert (count, type(count)) == (7, int)


@pytest.mark.parametrize("value", [0, -1, -(10**30), np.int64(0), np.int8(-5)], ids=repr)
def test_an_integer_below_one_raises_with_its_value(value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^num_threads must be at least 1, got {int(value)}$"):
        checked_count(value, "num_threads")


@pytest.mark.parametrize("value", [True, False, 2.0, float("nan"), "2", b"2", None, [2], 2j], ids=repr)
def test_what_is_no_integer_raises_with_its_value_and_type(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        checked_count(value, "num_threads")
    assert str(caught.value) == f"num_threads must be an integer, got {value!r} of type {type(value).__name__}"


@pytest.mark.parametrize("value", [np.True_, np.float32(2)], ids=repr)
def test_numpys_bools_and_floats_are_no_integers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^num_threads must be an integer, got np\.\w+.* of type (bool|float32)$"):
        checked_count(value, "num_threads")


@pytest.mark.parametrize("value", [int, np.array([2]), np.array(2.0), np.array(True)], ids=repr)
def test_what_only_looks_like_an_integer_raises_with_its_value_and_type(value: Any) -> None:
    with pytest.raises(TypeError) as caught:
        checked_count(value, "num_threads")
    assert str(caught.value) == f"num_threads must be an integer, got {value!r} of type {type(value).__name__}"
