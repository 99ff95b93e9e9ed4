"""List what became available in the last hour, by a product log: time, dataset type, data ID.

python products_of_the_last_hour.py localhost:9092 pp-output-products
"""

import json
import sys
from datetime import UTC, datetime, timedelta

from confluent_kafka import Consumer, TopicPartition

brokers, topic = sys.argv[1:]
since = datetime.now(UTC) - timedelta(hours=1)
settings = {"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": False}
consumer = Consumer({**settings, "enable.partition.eof": True})
unread = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
# A message is sent after the commit, so that none before this moment matters.
moments = [TopicPartition(topic, p, int(since.timestamp() * 1000)) for p in unread]
consumer.assign(consumer.offsets_for_times(moments, timeout=20))
seen: set[str] = set()  # a dataset may be logged twice
while unread:
    message = consumer.poll()
    if message.error():
        unread.discard(message.partition())
        continue
    products = json.loads(message.value())
    for file in products["datasets"]:
        for dataset_id, ref in file["refs"].items():
            if dataset_id not in seen and products["committed_at"] >= since.isoformat():
                seen.add(dataset_id)
                data_id = json.dumps(ref["data_id"])
                print(products["committed_at"], ref["dataset_type_name"], data_id)
