"""writer.py BOOTSTRAP TOPIC PARTITIONS: an idempotent producer (librdkafka, five requests in flight) writes the records 0, 1, 2 … of
each partition with keys "PARTITION-NUMBER" until SIGTERM, and prints "PARTITION OFFSET KEY" for each that was acknowledged."""

import signal
import sys
import time

from confluent_kafka import Producer


def main(bootstrap, topic, partitions):
    stopping, refused = [], []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    # No log lines of librdkafka: they would come between the words of a line here.
    producer = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "acks": "all", "linger.ms": 5,
        "message.timeout.ms": 120000, "socket.timeout.ms": 5000, "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 5000, "log_level": 0, "retry.backoff.ms": 50, "retry.backoff.max.ms": 200,
    })

    def delivered(error, message):
        if error:
            refused.append(f"{message.key().decode()}: {error}")
        else:
            print(message.partition(), message.offset(), message.key().decode())

    number = 0
    while not stopping and not refused:
        for partition in range(partitions):
            for n in range(number, number + 10):
                producer.produce(topic, key=f"{partition}-{n}", value="v" * (n % 300), partition=partition,
                                 on_delivery=delivered)
        number += 10
        producer.poll(0)
        # A pause of the cluster is not to fill the queue.
        while len(producer) > 5000 and not stopping and not refused:
            producer.poll(0.1)
        time.sleep(0.02)
    left = producer.flush(90)
    sys.stdout.flush()
    if left or refused:
        sys.exit(f"writer.py: {left} records not delivered, refused: {refused[:3]}")


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
