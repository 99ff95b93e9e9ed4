"""Fill a table with a row for each dataset of a product log; a later run continues from there.

python products_table.py localhost:9092 pp-output-products products.db
"""

import json
import sqlite3
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

brokers, topic, database = sys.argv[1:]
db = sqlite3.connect(database)
db.execute(
    "CREATE TABLE IF NOT EXISTS product (id TEXT PRIMARY KEY, dataset_type TEXT, run TEXT,"
    " data_id TEXT, path TEXT, committed_at TEXT)"
)
db.execute("CREATE TABLE IF NOT EXISTS position (partition INTEGER PRIMARY KEY, next INTEGER)")
settings = {"bootstrap.servers": brokers, "group.id": "unused", "enable.auto.commit": False}
consumer = Consumer({**settings, "auto.offset.reset": "earliest", "enable.partition.eof": True})
position = dict(db.execute("SELECT partition, next FROM position"))
unread = set(consumer.list_topics(topic, timeout=20).topics[topic].partitions)
consumer.assign([TopicPartition(topic, p, position.get(p, OFFSET_BEGINNING)) for p in unread])
while unread:  # up to the present end of each partition; `while True` follows the log
    message = consumer.poll()
    if message.error():
        unread.discard(message.partition())
        continue
    products = json.loads(message.value())
    rows = [
        (dataset_id, ref["dataset_type_name"], ref["run"], json.dumps(ref["data_id"]), file["path"])
        for file in products["datasets"]
        for dataset_id, ref in file["refs"].items()
    ]
    with db:  # rows and offset in one transaction: whatever happens, no row is missing or twice
        db.executemany(
            "INSERT INTO product VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(*row, products["committed_at"]) for row in rows],
        )
        next_offset = message.partition(), message.offset() + 1
        db.execute("REPLACE INTO position VALUES (?, ?)", next_offset)
