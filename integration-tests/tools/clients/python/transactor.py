"""transactor.py BOOTSTRAP: transactional producers (librdkafka) that do as they are told, a line of standard input each:
"ID init", "ID begin", "ID produce TOPIC PARTITION VALUE", "ID flush", "ID commit", "ID abort". Each is answered by a line: "ok MILLISECONDS" or
"error NAME TEXT". A transactional id has one producer here at a time; "init" makes a new one. Ends with its input."""

import sys
import time

from confluent_kafka import KafkaException, Producer

SECONDS = 60


def main(bootstrap):
    producers = {}
    for line in sys.stdin:
        name, what, *rest = line.split()
        begin = time.monotonic()
        failed = []
        try:
            if what == "init":
                producers[name] = Producer({
                    "bootstrap.servers": bootstrap, "transactional.id": name, "reconnect.backoff.max.ms": 500, "log_level": 0,
                    "socket.timeout.ms": 10000, "transaction.timeout.ms": 60000, "linger.ms": 0,
                    "topic.metadata.refresh.interval.ms": 2000,
                })
                producers[name].init_transactions(SECONDS)
            elif what == "begin":
                producers[name].begin_transaction()
            elif what == "produce":
                topic, partition, value = rest
                told = lambda error, _: failed.append(error) if error else None
                producers[name].produce(topic, value, partition=int(partition), on_delivery=told)
            elif what == "flush":
                if left := producers[name].flush(SECONDS):
                    raise TimeoutError(f"{left} records are not acknowledged")
            elif what == "commit":
                producers[name].commit_transaction(SECONDS)
            elif what == "abort":
                producers[name].abort_transaction(SECONDS)
            else:
                raise ValueError(what)
            if failed:
                raise KafkaException(failed[0])
            print(f"ok {1000 * (time.monotonic() - begin):.1f}", flush=True)
        except KafkaException as refused:
            print(f"error {refused.args[0].name()} {refused.args[0].str()}", flush=True)
        except Exception as refused:
            print(f"error {type(refused).__name__} {refused}", flush=True)


main(*sys.argv[1:])
