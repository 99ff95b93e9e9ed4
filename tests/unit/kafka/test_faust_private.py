"""Reports which private names of Faust and aiokafka have changed."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import faust
import pytest
from aiohttp.web import AppRunner, RequestHandler, Server, TCPSite
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState, TopicPartitionState
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from faust.app.router import Router
from faust.cli.base import AppCommand, Command
from faust.cli.worker import worker as worker_command
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.web import base as web
from faust.web.apps.production_index import blueprint as production_index
from faust.web.drivers import aiohttp as web_driver
from mode import Worker

from app.kafka import faust_private
from app.kafka.private import (
    commands,
    consumer_thread,
    decompression,
    fetch_limit,
    fetched_records,
    router,
    undecodable,
    unrecovered_tables,
    web_server,
)


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(thing: Any) -> str:
    return inspect.getsource(thing)


_NEW_CONNECTION = "return RequestHandler(self, loop=self._loop, **self._kwargs)"

#: Each private name or overridden hook, and a check that it is what this service expects.
NAMES: dict[str, Callable[[], bool]] = {
    "App._on_autodiscovery_error": lambda: (
        parameters(faust.App._on_autodiscovery_error) == ["self", "name"]
        and "onerror=self._on_autodiscovery_error" in source(faust.App.discover)
    ),
    "App.command": lambda: parameters(faust.App.command) == ["self", "options", "base", "kwargs"],
    "AppCommand._Worker": lambda: (
        "return self._Worker(" in source(AppCommand.worker_for_service)
        and issubclass(commands._Worker, Worker)
    ),
    "Worker._sentinel_task": lambda: (
        inspect.iscoroutinefunction(Worker._sentinel_task)
        and "fut = asyncio.ensure_future(self._sentinel_task(), loop=self.loop)"
        in source(Worker._shutdown_loop)
    ),
    "App._on_agent_error": lambda: (
        parameters(faust.App._on_agent_error) == ["self", "agent", "exc"]
        and "on_error=self._on_agent_error" in source(faust.App.agent)
    ),
    "worker.on_worker_created": lambda: (
        parameters(worker_command.on_worker_created) == ["self", "worker"]
        and "self.on_worker_created(worker)" in source(Command)
    ),
    "App._consumer": lambda: "self._consumer is None" in source(faust.App.consumer.fget),  # type: ignore[attr-defined]
    "App._new_transport": lambda: (
        parameters(faust.App._new_transport) == ["self"]
        and "(\n            self.conf.broker_consumer, self\n        )"
        in source(faust.App._new_transport)
        and "self._new_transport()" in source(faust.App.transport.fget)  # type: ignore[attr-defined]
    ),
    "Transport.Consumer": lambda: driver.Transport.Consumer is driver.Consumer,
    "Consumer._new_consumer_thread": lambda: (
        "return AIOKafkaConsumerThread(self, loop=self.loop, beacon=self.beacon)"
        in source(driver.Consumer._new_consumer_thread)
    ),
    "Consumer.perform_seek": lambda: (
        parameters(driver.Consumer.perform_seek) == ["self"]
        and "consumer.perform_seek()" in source(Recovery)
    ),
    "AIOKafkaConsumerThread.__post_init__": lambda: (
        parameters(AIOKafkaConsumerThread.__post_init__) == ["self"]
    ),
    "AIOKafkaConsumerThread._create_worker_consumer": lambda: (
        parameters(AIOKafkaConsumerThread._create_worker_consumer) == ["self", "transport"]
        and "self._create_worker_consumer(transport)"
        in source(AIOKafkaConsumerThread._create_consumer)
    ),
    "AIOKafkaConsumerThread._fetch_records": lambda: (
        parameters(AIOKafkaConsumerThread._fetch_records)
        == ["self", "consumer", "active_partitions", "timeout", "max_records"]
        and "self._fetch_records" in source(AIOKafkaConsumerThread.getmany)
        and "fetched_records" in source(AIOKafkaConsumerThread._fetch_records)
    ),
    "AIOKafkaConsumer._isolation_level": lambda: (
        "isolation_level=self._isolation_level" in source(AIOKafkaConsumer.start)
    ),
    "AIOKafkaConsumer._client": lambda: (
        "self._client = AIOKafkaClient(" in source(AIOKafkaConsumer)
    ),
    "AIOKafkaClient._conns": lambda: (
        "self._conns[(node_id, group)]" in source(AIOKafkaClient.send)
        and inspect.signature(AIOKafkaClient.send).parameters["group"].default
        == ConnectionGroup.DEFAULT
    ),
    "AIOKafkaConsumer._subscription": lambda: (
        "self._subscription.subscription.assignment" in source(AIOKafkaConsumer.highwater)
        and isinstance(SubscriptionState.subscription, property)
    ),
    "TopicPartitionState._position": lambda: (
        "self._position = position" in source(TopicPartitionState.consumed_to)
        and "consumed_to" in source(FetchResult)
    ),
    "TopicPartitionState._position_fut": lambda: (
        "self._position_fut = create_future()" in source(TopicPartitionState.await_reset)
        and "await_reset" in source(Fetcher._proc_fetch_request)
        and "create_future" not in source(TopicPartitionState.seek)
    ),
    "AIOKafkaConsumerThread.on_start": lambda: (
        "await self._consumer.start()" in source(AIOKafkaConsumerThread.on_start)
    ),
    "AIOKafkaConsumerThread._ensure_consumer": lambda: (
        parameters(AIOKafkaConsumerThread._ensure_consumer) == ["self"]
    ),
    "AIOKafkaConsumer._fetcher": lambda: (
        "self._fetcher = Fetcher(" in source(AIOKafkaConsumer.start)
    ),
    "Fetcher._fetch_max_bytes": lambda: (
        "self._fetch_max_bytes,\n" in source(Fetcher._get_actions_per_node)
    ),
    "Fetcher._get_actions_per_node": lambda: (
        parameters(Fetcher._get_actions_per_node) == ["self", "assignment"]
        and "return (\n            fetch_requests,\n            awaiting_reset,\n"
        "            backoff,\n"
        in source(Fetcher._get_actions_per_node)
        and "= self._get_actions_per_node(assignment)" in source(Fetcher._fetch_requests_routine)
    ),
    "Fetcher._records": lambda: (
        "self._records[tp] = FetchResult(" in source(Fetcher._proc_fetch_request)
        and "self._records[tp] = FetchError(" in source(Fetcher._set_error)
    ),
    "FetchResult._partition_records": lambda: (
        "self._partition_records is not None" in source(FetchResult.has_more)
    ),
    "PartitionRecords._records": lambda: (
        "records = self._records" in source(PartitionRecords._unpack_records)
        and hasattr(MemoryRecords, "size_in_bytes")
    ),
    "fetcher.MemoryRecords": lambda: (
        "records = MemoryRecords(part_data[-1])" in source(Fetcher._proc_fetch_request)
        and hasattr(fetcher, "MemoryRecords")
        and "for record in next_batch:" in source(PartitionRecords._unpack_records)
        and "if record.offset < self.next_fetch_offset:" in source(PartitionRecords._unpack_records)
    ),
    "fetcher.PartitionRecords": lambda: (
        "partition_records = PartitionRecords(" in source(Fetcher._proc_fetch_request)
        and hasattr(fetcher, "PartitionRecords")
    ),
    "PartitionRecords._records_iterator": lambda: (
        "self._records_iterator = self._unpack_records()" in source(PartitionRecords.__init__)
        and "_records_iterator" not in source(PartitionRecords._unpack_records)
    ),
    "_DefaultRecordBatchPy._buffer": lambda: (
        "self._buffer = bytearray(buffer)" in source(_DefaultRecordBatchPy.__init__)
    ),
    "_DefaultRecordBatchPy._pos": lambda: (
        "self._pos = self.HEADER_STRUCT.size" in source(_DefaultRecordBatchPy.__init__)
    ),
    "_DefaultRecordBatchPy._num_records": lambda: (
        "self._num_records = self._header_data[12]" in source(_DefaultRecordBatchPy.__init__)
    ),
    "FetchRequest._topics": lambda: "return self._topics" in source(FetchRequest),
    "TopicPartitionState.lso": lambda: "tp_state.lso = lso" in source(Fetcher._proc_fetch_request),
    "Consumer._acked": lambda: "acked = self._acked[tp]" in source(Consumer._new_offset),
    "Consumer._acked_index": lambda: "self._acked_index[tp]" in source(Consumer.ack),
    "Consumer._committed_offset": lambda: (
        "self._committed_offset[tp]" in source(Consumer.ack)
        and "self._committed_offset[tp]" in source(Consumer._should_commit)
    ),
    "Consumer.maybe_wait_for_commit_to_finish": lambda: (
        "_commit_fut" in source(Consumer.maybe_wait_for_commit_to_finish)
    ),
    "AIOKafkaConsumerThread.commit": lambda: (
        parameters(AIOKafkaConsumerThread.commit) == ["self", "offsets"]
    ),
    "AIOKafkaConsumerThread._commit": lambda: (
        parameters(AIOKafkaConsumerThread._commit) == ["self", "offsets"]
        and "self.call_thread(self._commit, offsets)" in source(AIOKafkaConsumerThread.commit)
        and "self._ensure_consumer()" in source(AIOKafkaConsumerThread._commit)
        and "self.tp_last_committed_at.update" in source(AIOKafkaConsumerThread._commit)
    ),
    "Consumer._gap": lambda: "self._gap.pop(tp, None)" in source(Consumer),
    "Recovery._build_offsets": lambda: (
        parameters(Recovery._build_offsets) == ["self", "consumer", "tps", "destination", "title"]
        and source(Recovery).index("T(self._build_highwaters)(\n")
        < source(Recovery).index("T(self._build_offsets)(\n")
    ),
    "Recovery.active_highwaters": lambda: (
        "highwater - offsets[tp]" in source(Recovery.active_remaining)
        and "self.active_highwaters" in source(Recovery.active_remaining)
    ),
    "ThreadDelegateConsumer._thread": lambda: "self._thread =" in source(ThreadDelegateConsumer),
    "AIOKafkaConsumerThread._consumer": lambda: (
        "_consumer" in AIOKafkaConsumerThread.__annotations__
    ),
    "AIOKafkaConsumer._coordinator": lambda: "self._coordinator =" in source(AIOKafkaConsumer),
    "TableManager.recovery": lambda: (
        "self.recovery.on_rebalance" in source(TableManager)
        and "Recovery(\n                self.app, self, beacon=self.beacon, loop=self.loop"
        in source(TableManager)
    ),
    "TableManager._recovery": lambda: "self._recovery is None" in source(TableManager),
    "GroupCoordinator.check_errors": lambda: (
        parameters(GroupCoordinator.check_errors) == ["self"]
        and "raise exc" in source(GroupCoordinator.check_errors)
    ),
    "GroupCoordinator.request_rejoin": lambda: (
        parameters(GroupCoordinator.request_rejoin) == ["self"]
        and "_rejoin_needed_fut" in source(GroupCoordinator.request_rejoin)
    ),
    "App._new_web": lambda: (
        parameters(faust.App._new_web) == ["self"]
        and "return self._new_web()" in source(faust.App)
        and "web_drivers.by_url(self.conf.web)(self)" in source(faust.App._new_web)
    ),
    "Web.production_blueprints": lambda: (
        [name for _, name in web.Web.production_blueprints]
        == ["faust.web.apps.production_index:blueprint"]
        and [route.uri for route in production_index.routes] == ["/"]
        and "candidates.extend(self.production_blueprints)" in source(web.Web._enabled_blueprints)
    ),
    "Web.default_blueprints": lambda: (
        [prefix for prefix, _ in web.Web.default_blueprints] == ["/router", "/table"]
    ),
    "Web.debug_blueprints": lambda: (
        "candidates.extend(self.debug_blueprints)" in source(web.Web._enabled_blueprints)
    ),
    "Web.optional_blueprints": lambda: (
        "candidates.extend(self.optional_blueprints)" in source(web.Web._enabled_blueprints)
    ),
    "Router.key_store": lambda: (
        parameters(Router.key_store) == ["self", "table_name", "key"]
        and "app.router.key_store(table_name, key)" in source(Router.route_req)
    ),
    "Router._get_table": lambda: (
        parameters(Router._get_table) == ["self", "name"]
        and "self._get_table(table_name)" in source(Router.table_metadata)
    ),
    "Router._route_req": lambda: (
        parameters(Router._route_req) == ["self", "dest_url", "web", "request"]
        and "return await self._route_req(dest_url, web, request)" in source(Router.route_req)
    ),
    "Web._runner": lambda: (
        "AppRunner(self.web_app, access_log=None)" in source(web_driver.Web.__init__)
        and "TCPSite(\n            self._runner," in source(web_driver.Web._new_transport_tcp)
        and "server = self._runner.server" in source(TCPSite.start)
        and "self.connections" not in source(Server)
        and isinstance(Server.connections, property)
    ),
    "AppRunner.server": lambda: "return self._server" in source(AppRunner.server.fget),  # type: ignore[attr-defined]
    "Server._loop": lambda: _NEW_CONNECTION in source(Server.__call__),
    "Server._kwargs": lambda: _NEW_CONNECTION in source(Server.__call__),
    "RequestHandler.handle_error": lambda: (
        parameters(RequestHandler.handle_error) == ["self", "request", "status", "exc", "message"]
        and "return self.handle_error(" in source(RequestHandler._make_error_handler)
        and "resp = self.handle_error(request, 500, exc)" in source(RequestHandler)
    ),
    "Web.web_app": lambda: "self.web_app: Application = Application(" in source(web_driver.Web),
    "Event.ack": lambda: parameters(faust.Event.ack) == ["self"],
}


@pytest.mark.parametrize("name", NAMES)
def test_a_private_name_is_what_this_service_expects(name: str) -> None:
    changed = (
        f"{name} has changed in faust-streaming {version('faust-streaming')} or "
        f"aiokafka {version('aiokafka')}: see app/kafka/faust_private.py"
    )
    try:
        is_expected = NAMES[name]()
    except (AttributeError, TypeError) as error:
        pytest.fail(f"{changed} ({type(error).__name__}: {error})")
    assert is_expected, changed


MODULES = [
    faust_private,
    commands,
    consumer_thread,
    decompression,
    fetch_limit,
    fetched_records,
    router,
    undecodable,
    unrecovered_tables,
    web_server,
]
KNOWN = {name.rpartition(".")[2] for name in NAMES}


@pytest.mark.parametrize("module", MODULES)
def test_every_private_name_in_use_is_checked(module: ModuleType) -> None:
    tree = ast.parse(Path(module.__file__ or "").read_text())
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    attributes = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    overridden = {name for node in classes if node.bases for name in methods(node)}
    own = {name for node in classes if not node.bases for name in methods(node)} | stored(tree)
    # os._exit and type.__name__ are public
    assert (attributes - own) | overridden <= KNOWN | {"_evidence", "_exit", "__name__"}


def methods(node: ast.ClassDef) -> set[str]:
    return {
        each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def stored(tree: ast.Module) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    }
