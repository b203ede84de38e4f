"""Kafka's requests and responses by its own schemas: the JSON files inside kafka-clients' jar.

Encodes a request at any version from a dictionary that may have fields of all of them, and decodes a response into a
dictionary, every byte of it: what is left over or missing is an error.
"""

import json
import re
import struct
import uuid
import zipfile


def versions(text):
    """`0-3`, `2+`, `none` → (first, last)."""
    if text == "none" or text is None:
        return (1, 0)
    if text.endswith("+"):
        return (int(text[:-1]), 1 << 15)
    first, _, last = text.partition("-")
    return (int(first), int(last or first))


def within(text, version):
    first, last = versions(text)
    return first <= version <= last


class Schema:
    def __init__(self, json_text):
        lines = [line for line in json_text.splitlines() if not line.strip().startswith("//")]
        self.json = json.loads("\n".join(re.sub(r'//[^"]*$', "", line) for line in lines))
        self.name = self.json["name"]
        self.flexible = self.json.get("flexibleVersions", "none")
        self.common = {c["name"]: c["fields"] for c in self.json.get("commonStructs", [])}

    def fields_of(self, field, kind):
        return field.get("fields") or self.common[kind]

    def encode(self, version, values):
        out = bytearray()
        self._struct(out, self.json["fields"], version, values, self.name)
        return bytes(out)

    def decode(self, version, data):
        reader = Reader(data)
        value = self._read_struct(reader, self.json["fields"], version)
        if reader.left():
            raise ValueError(f"{reader.left()} bytes are left over")
        return value

    # Writing.

    def _struct(self, out, fields, version, values, where):
        flexible = within(self.flexible, version)
        names = {camel(field["name"]) for field in fields}
        unknown = set(values) - names
        assert not unknown, f"{where} has no {unknown}"
        tagged = []
        for field in fields:
            if not within(field["versions"], version):
                continue
            value = values.get(camel(field["name"]), Default)
            if "tag" in field and within(field.get("taggedVersions", "none"), version):
                if value is not Default:
                    data = bytearray()
                    self._value(data, field, field["type"], version, value, flexible)
                    tagged.append((field["tag"], bytes(data)))
                continue
            if value is Default:
                value = default(field, version)
            self._value(out, field, field["type"], version, value, flexible)
        if flexible:
            unsigned(out, len(tagged))
            for tag, data in sorted(tagged):
                unsigned(out, tag)
                unsigned(out, len(data))
                out += data

    def _value(self, out, field, kind, version, value, flexible):
        flexible = flexible and within(field.get("flexibleVersions", "0+"), version)
        if kind.startswith("[]"):
            length(out, value, flexible, "i")
            for item in value or []:
                self._value(out, field, kind[2:], version, item, flexible)
        elif kind in PRIMITIVES:
            out += struct.pack(PRIMITIVES[kind], value)
        elif kind == "string":
            data = None if value is None else value.encode()
            length(out, data, flexible, "h")
            out += data or b""
        elif kind in ("bytes", "records"):
            length(out, value, flexible, "i")
            out += value or b""
        elif kind == "uuid":
            out += value if isinstance(value, bytes) else uuid.UUID(value).bytes
        else:
            self._struct(out, self.fields_of(field, kind), version, value, kind)

    # Reading.

    def _read_struct(self, reader, fields, version):
        flexible = within(self.flexible, version)
        values = {}
        tags = {}
        for field in fields:
            if not within(field["versions"], version):
                continue
            if "tag" in field and within(field.get("taggedVersions", "none"), version):
                tags[field["tag"]] = field
            else:
                values[camel(field["name"])] = self._read(reader, field, field["type"], version, flexible)
        if flexible:
            for _ in range(reader.unsigned()):
                tag, size = reader.unsigned(), reader.unsigned()
                inner = Reader(reader.take(size))
                field = tags[tag]
                values[camel(field["name"])] = self._read(inner, field, field["type"], version, flexible)
                assert not inner.left(), f"tag {tag} has bytes left over"
        return values

    def _read(self, reader, field, kind, version, flexible):
        flexible = flexible and within(field.get("flexibleVersions", "0+"), version)
        if kind.startswith("[]"):
            count = reader.length(flexible, "i")
            if count is None:
                return None
            return [self._read(reader, field, kind[2:], version, flexible) for _ in range(count)]
        if kind in PRIMITIVES:
            return reader.number(PRIMITIVES[kind])
        if kind == "string":
            size = reader.length(flexible, "h")
            return None if size is None else reader.take(size).decode()
        if kind in ("bytes", "records"):
            size = reader.length(flexible, "i")
            return None if size is None else reader.take(size).hex()
        if kind == "uuid":
            return str(uuid.UUID(bytes=reader.take(16)))
        # A struct that may be null begins with a byte that says so.
        if "nullableVersions" in field and not field["type"].startswith("[]") and within(field["nullableVersions"], version):
            if reader.number(">b") < 0:
                return None
        return self._read_struct(reader, self.fields_of(field, kind), version)


class Default:
    pass


PRIMITIVES = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}


def camel(name):
    return name[0].lower() + name[1:]


def default(field, version):
    kind, value = field["type"], field.get("default")
    if value == "null":
        return None
    if kind.startswith("[]"):
        return []
    if kind == "bool":
        return str(value).lower() == "true"
    if kind == "float64":
        return float(value or 0)
    if kind in PRIMITIVES:
        return int(str(value), 0) if value is not None else 0
    if kind == "string":
        return value or ""
    if kind in ("bytes", "records"):
        return b""
    if kind == "uuid":
        return bytes(16)
    return {}


def unsigned(out, value):
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def length(out, value, flexible, code):
    if flexible:
        unsigned(out, 0 if value is None else len(value) + 1)
    else:
        out += struct.pack(">" + code, -1 if value is None else len(value))


class Reader:
    def __init__(self, data):
        self.data, self.position = data, 0

    def left(self):
        return len(self.data) - self.position

    def take(self, size):
        if size > self.left():
            raise ValueError(f"{size} bytes are wanted and {self.left()} are there")
        self.position += size
        return self.data[self.position - size : self.position]

    def number(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def unsigned(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, flexible, code):
        size = self.unsigned() - 1 if flexible else self.number(">" + code)
        return None if size < 0 else size


class Schemas:
    """All requests and responses of a jar, by name."""

    def __init__(self, jar):
        self.requests, self.responses = {}, {}
        with zipfile.ZipFile(jar) as archive:
            for name in archive.namelist():
                if re.fullmatch(r"common/message/\w+(Request|Response)\.json", name):
                    schema = Schema(archive.read(name).decode())
                    kind = self.requests if schema.name.endswith("Request") else self.responses
                    kind[re.sub("(Request|Response)$", "", schema.name)] = schema

    def key(self, api):
        return self.requests[api].json["apiKey"]

    def frame(self, api, version, values, correlation, client="differential"):
        """A request with its header, without the size."""
        request = self.requests[api]
        body = request.encode(version, values)
        out = bytearray(struct.pack(">hhi", self.key(api), version, correlation))
        # ControlledShutdown 0 has a header of its own, without a client id.
        if not (api == "ControlledShutdown" and version == 0):
            out += struct.pack(">h", len(client)) + client.encode()
        if within(request.flexible, version):
            out.append(0)
        return bytes(out) + body

    def answer(self, api, version, frame, correlation):
        """The response in a frame without its size."""
        response = self.responses[api]
        found = struct.unpack(">i", frame[:4])[0]
        assert found == correlation, f"correlation {found} for {correlation}"
        start = 4
        if within(response.flexible, version) and api != "ApiVersions":
            assert frame[4] == 0, "tagged fields in the header"
            start = 5
        return response.decode(version, frame[start:])
