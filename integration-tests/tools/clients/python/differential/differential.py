"""differential.py JAR REFERENCE OTHER [API…] — the same requests, at every version, to two brokers; tells where the answers differ.

Both are fresh brokers with the id 1. What differs for good reasons (times, addresses, ids that are drawn) is made equal before it
is compared. Ends with 1 if anything is left.
"""

import json
import re
import socket
import struct
import sys
import time

# Nothing is to be left beside the sources.
sys.dont_write_bytecode = True

import records
import requests
import schemas


class Broker:
    def __init__(self, address, known):
        self.address, self.known, self.socket, self.correlation = address, known, None, 0

    def connect(self):
        host, port = self.address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)

    def ask(self, all_schemas, api, version, values):
        """The decoded answer, or what happened instead."""
        if self.socket is None:
            self.connect()
        self.correlation += 1
        frame = all_schemas.frame(api, version, values, self.correlation)
        try:
            self.socket.sendall(struct.pack(">i", len(frame)) + frame)
            size = struct.unpack(">i", self.read(4))[0]
            return all_schemas.answer(api, version, self.read(size), self.correlation)
        except (ConnectionError, EOFError):
            self.socket.close()
            self.socket = None
            return "the connection was closed"
        except TimeoutError:
            self.socket.close()
            self.socket = None
            return "no answer in 30 s"

    def read(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


# Fields whose values are the broker's own.
OWN = {
    "throttleTimeMs", "clusterId", "port", "host", "topicId", "memberId", "leader", "sessionId", "logAppendTimeMs", "logDir",
    "totalBytes", "usableBytes", "finalizedFeaturesEpoch", "zkMigrationReady", "lastTimestamp", "producerIdStart", "size",
}
# Only whether they are there.
DRAWN = {"producerId"}


def comparable(api, value, name=None):
    if isinstance(value, dict):
        return {key: comparable(api, inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        items = [comparable(api, inner, name) for inner in value]
        # The order of lists means nothing but in few of them, which have one item here.
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if name in OWN and value not in (None, ""):
        return f"<{name}>"
    if name in DRAWN and isinstance(value, int) and value >= 0:
        return f"<{name}>"
    if name == "records":
        # Where Kafka refuses an old consumer it answers null, which librdkafka takes for a broken answer; ours is empty.
        return without_time(value) if value else None
    if isinstance(value, str):
        if name == "value" and value.startswith("/"):
            value = "<directory>"
        value = re.sub(r"127\.0\.0\.1:\d+", "<address>", value)
        value = re.sub(r"<address>/[\w-]+", "<address>/<chroot>", value)
        value = re.sub(r"within \[\d+, -?\d+\]", "within <times>", value)
        value = re.sub(r"are not alive\..*", "are not alive.", value)
    return value


def without_time(records_hex):
    """A record set whose time of appending is blotted out, and the checksums over it.

    Of one that is converted to an older format Kafka promises as many bytes as it has in its log: what does not fit is cut, and what
    is left over is filled. So only the beginning can be compared.
    """
    data, position, out = bytes.fromhex(records_hex), 0, []
    while position + 17 <= len(data):
        offset, size = struct.unpack(">qi", data[position : position + 12])
        magic = data[position + 16]
        entry = data[position : position + 12 + size]
        if magic == 2 and len(entry) > 61:
            attributes = struct.unpack(">h", entry[21:23])[0]
            compressed = f"{attributes & 7}" if attributes & 7 else entry[61:].hex()
            appended = bool(attributes & 8)
            out.append((offset, 2, attributes, entry[12:16].hex(), "time" if appended else entry[27:43].hex(), entry[43:61].hex(), compressed))
        elif magic < 2 and len(entry) > 26:
            attributes = entry[17]
            compressed = attributes & 7
            appended = bool(attributes & 8)
            out.append((offset, magic, attributes, "" if appended or compressed else entry[18:].hex(), len(entry) == 12 + size))
        else:
            out.append((offset, magic, len(entry)))
        position += 12 + size
    return out[:8] if out and out[0][1] < 2 else out


def differences(path, one, two):
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(one.keys() | two.keys()):
            yield from differences(f"{path}.{key}", one.get(key, "(absent)"), two.get(key, "(absent)"))
    elif isinstance(one, list) and isinstance(two, list) and len(one) == len(two):
        for i, (left, right) in enumerate(zip(one, two)):
            yield from differences(f"{path}[{i}]", left, right)
    elif one != two:
        yield f"{path}: {short(one)} — {short(two)}"


def short(value):
    text = json.dumps(value) if not isinstance(value, str) else repr(value)
    return text if len(text) < 400 else text[:400] + "…"


def set_up(all_schemas, broker):
    names = [{"name": name, "numPartitions": 1, "replicationFactor": 1, "configs": [{"name": k, "value": v} for k, v in configs.items()]}
             for name, configs in requests.TOPICS.items()]
    made = broker.ask(all_schemas, "CreateTopics", 7, {"topics": names, "timeoutMs": 20_000})
    for topic in made["topics"]:
        assert topic["errorCode"] in (0, 36), topic
    for _ in range(4):
        for name in ("deleted", "kept"):
            done = broker.ask(all_schemas, "Produce", 9, requests.produce(name, records.for_version(9)))
            assert done["responses"][0]["partitionResponses"][0]["errorCode"] == 0, done
    # The first block of producer ids comes from the controller.
    while broker.ask(all_schemas, "InitProducerId", 0, {"transactionalId": None})["errorCode"]:
        time.sleep(0.1)
    # The internal topics, before anybody is asked about them.
    for kind in (0, 1):
        for _ in range(100):
            found = broker.ask(all_schemas, "FindCoordinator", 4, {"keyType": kind, "coordinatorKeys": ["x"]})
            if found["coordinators"][0]["errorCode"] == 0:
                break
            time.sleep(0.2)
    refresh(all_schemas, broker)


def refresh(all_schemas, broker):
    metadata = broker.ask(all_schemas, "Metadata", 12, {"topics": None})
    broker.known["ids"] = {topic["name"]: topic["topicId"] for topic in metadata["topics"]}


def main():
    jar, reference, other, *only = sys.argv[1:]
    all_schemas = schemas.Schemas(jar)
    brokers = [Broker(reference, {"ids": {}}), Broker(other, {"ids": {}})]
    for broker in brokers:
        set_up(all_schemas, broker)
    served = [
        {key["apiKey"]: (key["minVersion"], key["maxVersion"]) for key in broker.ask(all_schemas, "ApiVersions", 0, {})["apiKeys"]}
        for broker in brokers
    ]
    asked = different = 0
    for api, what, fields in requests.CASES:
        if only and api not in only:
            continue
        key = all_schemas.key(api)
        first, last = served[0][key]
        if api in ("DeleteTopics",):
            for broker in brokers:
                refresh(all_schemas, broker)
        for version in range(first, last + 1):
            answers = []
            for broker in brokers:
                values = fields(version, broker.known) if callable(fields) else fields
                answers.append(comparable(api, broker.ask(all_schemas, api, version, values)))
            asked += 1
            found = list(differences("", *answers))
            if found:
                different += 1
                print(f"{api} {version}, {what}:")
                for line in found[:12]:
                    print(f"    {line}")
                if len(found) > 12:
                    print(f"    and {len(found) - 12} more")
    print(f"asked {asked}, different {different}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
