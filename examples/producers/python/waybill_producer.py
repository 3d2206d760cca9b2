"""Puts jobs onto a job topic of Waybill; docs/wire.md is the format.

What becomes of a job: it is acked, then all in-sync replicas have it; or it
fails, then it may have been written or not. Enqueue it again then, with the
same kind, key, id and payload bytes: it is still one job.
"""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import KafkaError, Message, Producer


@dataclass
class Job:
    """A job.

    The key orders jobs and chooses the partition; None stands for the id, which
    orders nothing but the job itself. Without an id one is made from kind, key
    and payload, so that the same arguments twice are one job. Payloads are
    compared byte by byte: encode them in one way only, for example with
    json.dumps(x, sort_keys=True, ensure_ascii=False, separators=(",", ":")).
    """

    kind: str
    payload: bytes | None
    key: bytes | None = None
    id: str = ""
    content_type: str = "application/json"
    not_before: datetime | None = None

    def __post_init__(self) -> None:
        if not self.id:
            self.id = deterministic_id(self.kind, self.key, self.payload or b"")
        if self.key is None:
            self.key = self.id.encode()
        _check("kind", self.kind, 200, forbidden=" ")
        _check("id", self.id, 512)
        if self.not_before and self.not_before.tzinfo is None:
            raise ValueError("not_before has no time zone")

    @property
    def identity(self) -> str:
        """What the handler gets as its idempotency key."""
        return identity(self.kind, self.key, self.id.encode()).hex()

    def headers(self) -> list[tuple[str, bytes]]:
        headers = [("waybill-kind", self.kind.encode()), ("waybill-id", self.id.encode())]
        if self.content_type:
            headers.append(("content-type", self.content_type.encode()))
        if self.not_before:
            headers.append(("waybill-at", self.not_before.isoformat().encode()))  # RFC 3339
        return headers


class WaybillProducer:
    """Enqueues jobs; one for a process is enough, and threads may share it."""

    def __init__(self, bootstrap_servers: str, topic: str, **config: object) -> None:
        """Connects to a cluster. What config holds besides (TLS, SASL) is passed on."""
        self._topic = topic
        self._kafka = Producer({
            **config,
            "bootstrap.servers": bootstrap_servers,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "murmur2_random",  # as Kafka's Java client does it; the default is another hash
        })

    def enqueue(self, job: Job, done: Callable[[KafkaError | None, Message], None]) -> None:
        """Sends a job. done is called by a later enqueue or flush, with an error or without."""
        while True:
            try:
                self._kafka.produce(self._topic, key=job.key, value=job.payload, headers=job.headers(), on_delivery=done)
                break
            except BufferError:  # the local queue is full
                self._kafka.poll(0.1)
        self._kafka.poll(0)

    def flush(self) -> None:
        """Waits until every job is acked or has failed, which message.timeout.ms bounds."""
        self._kafka.flush()


def identity(kind: str, key: bytes | None, id: bytes) -> bytes:
    """The first 16 bytes of the SHA-256 of kind, key and id, each told apart from the next."""
    name = kind.encode()
    hashed = _length(len(name)) + name + (_length(0) if key is None else _length(len(key) + 1) + key) + id
    return hashlib.sha256(hashed).digest()[:16]


def deterministic_id(kind: str, key: bytes | None, payload: bytes) -> str:
    """A UUID of version 8 that follows from kind, key and payload."""
    b = bytearray(identity(kind, key, payload))
    b[6] = b[6] & 0x0F | 0x80
    b[8] = b[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(b)))


def _length(n: int) -> bytes:
    """LEB128: seven bits a byte, lowest first."""
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _check(what: str, text: str, limit: int, forbidden: str = "") -> None:
    if not 1 <= len(text.encode()) <= limit:
        raise ValueError(f"{what} has {len(text.encode())} bytes, not 1 to {limit}")
    if any(c < " " or c == "\x7f" or c in forbidden for c in text):
        raise ValueError(f"{what} contains white space or a control character: {text!r}")


def main() -> int:
    """Enqueues jobs from standard input, one a line: kind, key, id, JSON payload and
    the earliest time, separated by tabs; key, id and time may be empty. Writes id,
    identity, partition and offset of each."""
    if len(sys.argv) != 3:
        print("usage: waybill_producer.py BOOTSTRAP_SERVERS TOPIC < jobs.tsv", file=sys.stderr)
        return 2
    producer = WaybillProducer(sys.argv[1], sys.argv[2])
    sent: list[tuple[Job, list[Message]]] = []
    failed = False

    def enqueue(job: Job) -> None:
        acked: list[Message] = []
        sent.append((job, acked))

        def done(error: KafkaError | None, message: Message) -> None:
            nonlocal failed
            if error is not None:
                failed = True
                print(f"{job.id}: {error}", file=sys.stderr)
            else:
                acked.append(message)

        producer.enqueue(job, done)

    for line in sys.stdin.buffer:
        kind, key, id, payload, *at = line.rstrip(b"\n").split(b"\t")
        enqueue(Job(kind.decode(), payload, key or None, id.decode(),
                    not_before=datetime.fromisoformat(at[0].decode().replace("Z", "+00:00")) if at and at[0] else None))
    producer.flush()
    for job, acked in sent:
        for message in acked:
            row = [job.id, job.identity, str(message.partition()), str(message.offset())]
            sys.stdout.buffer.write("\t".join(row).encode() + b"\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
