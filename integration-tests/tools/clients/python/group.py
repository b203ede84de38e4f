"""group.py BOOTSTRAP TOPIC GROUP: a member of GROUP (librdkafka) prints "PARTITION OFFSET KEY" for each record of TOPIC, then
commits; on SIGTERM it leaves the group and ends, on SIGUSR1 it says where it is. Brokers may come and go: what librdkafka tries again by itself is no error here."""

import faulthandler
import signal
import sys

from confluent_kafka import Consumer, KafkaException


def main(bootstrap, topic, group):
    faulthandler.register(signal.SIGUSR1)
    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    # No log lines of librdkafka: they would come between the words of a line here.
    consumer = Consumer({
        "bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
        "session.timeout.ms": 6000, "check.crcs": True, "reconnect.backoff.max.ms": 1000, "socket.timeout.ms": 5000,
        "topic.metadata.refresh.interval.ms": 5000, "log_level": 0,
    })
    consumer.subscribe([topic])
    while not stopping:
        messages = consumer.consume(500, 0.2)
        lines = [f"{m.partition()} {m.offset()} {m.key().decode()}\n" for m in messages if not m.error()]
        for message in messages:
            if message.error() and message.error().fatal():
                raise KafkaException(message.error())
        if lines:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
            try:
                consumer.commit(asynchronous=False)
            except KafkaException as refused:
                # The group has moved on or its coordinator has: the records come again, and are printed again.
                print(f"# {refused}", file=sys.stderr, flush=True)
    consumer.close()


main(*sys.argv[1:])
