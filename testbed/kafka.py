"""Apache Kafka: one node that is broker and controller (KRaft), run from its jars."""

import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from .certificates import Authority
from .cluster import Cluster
from .kafka_jars import find_java, kafka_jars
from .ports import free_port
from .process import ChildProcess
from .server import Server
from .waiting import wait_until

__all__ = ["ApacheKafka"]

_START_TIMEOUT = 60.0
_MECHANISM = "SCRAM-SHA-512"
_SUPER_USER = "admin"


class ApacheKafka(Server, Cluster):
    """A private Kafka node; it keeps address and data over `restart` and `kill` + `start`.

    Parameters
    ----------
    users
        Names and passwords. If given, clients must log in (SASL_PLAINTEXT, SCRAM-SHA-512), and
        may do only what `allow` has granted; the methods of this class act as a super user.

    Attributes
    ----------
    tls_bootstrap
        A second address of the node: encrypted, without a login.
    strict_bootstrap
        With users, a third address: encrypted, with a login and a client's certificate.
    certificate
        The file with the authority of the node's certificate, which clients of these addresses
        must trust.
    client_certificate
        The file with a client's certificate and its key.

    Raises
    ------
    ServerUnavailableError
        There is no Java, or Kafka's jars cannot be downloaded.
    """

    def __init__(self, users: Mapping[str, str] | None = None) -> None:
        self._java = find_java()
        self._jars = kafka_jars()
        self._users = dict(users or {})
        if self._users:
            self._users[_SUPER_USER] = secrets.token_hex(8)
        security = self.security(_SUPER_USER) if self._users else None
        Cluster.__init__(self, f"127.0.0.1:{free_port()}", security)
        Server.__init__(self, "Kafka")
        self.tls_bootstrap = f"127.0.0.1:{free_port()}"
        self.strict_bootstrap = f"127.0.0.1:{free_port()}"
        self.certificate = self._folder / "certificate.pem"
        self.client_certificate = self._folder / "client.pem"
        self._settings = self._folder / "server.properties"
        try:
            self._format()
        except BaseException:
            self.close()
            raise

    def security(self, user: str) -> dict[str, str]:
        """Return the librdkafka properties with which a user logs in."""
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": _MECHANISM,
            "sasl.username": user,
            "sasl.password": self._users[user],
        }

    def start(self) -> None:
        """Start the node and wait until it answers."""
        # The former administration client asks with leader epochs that the node does not know yet.
        self.__dict__.pop("admin", None)
        self._process = self._run("kafka.Kafka", str(self._settings))
        self._wait_for_answer(self.answers, _START_TIMEOUT)

    def stop(self) -> None:
        """Shut the node down; it keeps its data."""
        if self._process is not None:
            self._process.stop(signal.SIGTERM)

    def freeze(self) -> None:
        """Freeze the node (SIGSTOP): its connections stay open, but it does not answer."""
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node continue (SIGCONT)."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def lose_log(self, topic: str) -> None:
        """Remove the messages of a topic, as a lost disk does; the node must be stopped."""
        for partition in (self._folder / "data").glob(f"{topic}-[0-9]*"):
            shutil.rmtree(partition)

    def save_log(self, topic: str) -> None:
        """Copy the messages of a topic, as a backup does; none may be sent meanwhile."""
        for partition in (self._folder / "data").glob(f"{topic}-[0-9]*"):
            # Kafka makes the indexes again.
            indexes = shutil.ignore_patterns("*index", "*.snapshot")
            shutil.copytree(partition, self._folder / "saved" / partition.name, ignore=indexes)

    def restore_log(self, topic: str, partition: int) -> None:
        """Put the messages that `save_log` has copied back; the node must be stopped."""
        name = f"{topic}-{partition}"
        shutil.rmtree(self._folder / "data" / name)
        shutil.copytree(self._folder / "saved" / name, self._folder / "data" / name)

    def restart(self) -> None:
        """Stop the node and start it again with the same address and data."""
        self.stop()
        self.start()

    def allow(
        self,
        user: str,
        operation: AclOperation,
        kind: ResourceType,
        name: str,
        pattern: ResourcePatternType = ResourcePatternType.LITERAL,
    ) -> None:
        """Grant a user one operation on a resource, such as READ on a TOPIC or a GROUP."""
        fields = (kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        rule = AclBinding(*fields)
        self.admin.create_acls([rule])[rule].result(_START_TIMEOUT)

        # The controller has the rule; the broker, which enforces it, receives it later.
        def is_in_force() -> bool:
            return bool(self.admin.describe_acls(AclBindingFilter(*fields)).result(_START_TIMEOUT))

        wait_until(is_in_force, _START_TIMEOUT, lambda: f"the broker to receive {rule}")

    def forbid(self, user: str, operation: AclOperation, kind: ResourceType, name: str) -> None:
        """Take back what `allow` has granted."""
        rule = AclBindingFilter(
            kind,
            name,
            ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        self.admin.delete_acls([rule])[rule].result(_START_TIMEOUT)

        def is_gone() -> bool:
            return not self.admin.describe_acls(rule).result(_START_TIMEOUT)

        wait_until(is_gone, _START_TIMEOUT, lambda: f"the broker to forget {rule}")

    def change_password(self, user: str, password: str) -> None:
        """Make a user, or change the password of one; connections that are open stay open."""
        login = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(user, login, password.encode())
        self.admin.alter_user_scram_credentials([change])[user].result(_START_TIMEOUT)
        self._users[user] = password

    def _format(self) -> None:
        """Write the settings and prepare the data folder."""
        settings = self._node_settings() | (self._security_settings() if self._users else {})
        self._settings.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        scram = [
            f"--add-scram={_MECHANISM}=[name={name},password={password}]"
            for name, password in self._users.items()
        ]
        tool = self._run(
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id=ButlerWriterTestCluster",
            f"--config={self._settings}",
            *scram,
        )
        if tool.wait(_START_TIMEOUT) != 0:
            raise ChildProcessError(f"Kafka's data folder was not formatted:\n{tool.log_tail()}")

    def _run(self, main_class: str, *arguments: str) -> ChildProcess:
        return ChildProcess(
            [
                self._java,
                "-Xmx512m",
                "-XX:+UseSerialGC",  # needs the least memory for a heap of this size
                # A node lives for a minute: the second compiler takes more than it saves. A start
                # takes half of the processor time without it.
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.level=INFO",
                "-cp",
                f"{self._jars}/*",
                main_class,
                *arguments,
            ],
            log=self.log,
        )

    def _identity(self) -> Path:
        """Make certificates for this machine's address; return the file with the node's."""
        authority = Authority()
        self.certificate.write_bytes(authority.certificate)
        self.client_certificate.write_bytes(authority.issue())
        identity = self._folder / "identity.pem"
        identity.write_bytes(authority.issue())
        return identity

    def _node_settings(self) -> dict[str, str | int]:
        controller = free_port()
        listeners = f"CLIENT://{self.bootstrap},TLS://{self.tls_bootstrap}"
        if self._users:
            listeners += f",STRICT://{self.strict_bootstrap}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": listeners,
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self._identity()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": f"{self._folder}/data",
            # Access to a topic that does not exist must be an error.
            "auto.create.topics.enable": "false",
            # One node cannot hold the three replicas that internal topics have by default ...
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            # ... and creating their 50 partitions would delay the first group.
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.num.partitions": 1,
            # By default, a new group waits 3 s for more members.
            "group.initial.rebalance.delay.ms": 0,
            # Allows tests to choose a short session timeout (the default minimum is 6 s).
            "group.min.session.timeout.ms": 1000,
            # After a kill, the node cannot return before its old session has expired (default 9 s).
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            # An event of 10 MiB, and a dead letter, which is larger than its event.
            "message.max.bytes": 12 * 1024 * 1024,
            "replica.fetch.max.bytes": 12 * 1024 * 1024,
            # By default, the cleaner reserves 128 MiB, a quarter of this heap.
            "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        }

    def _security_settings(self) -> dict[str, str | int]:
        password = self._users[_SUPER_USER]
        return {
            "listener.security.protocol.map": (
                "CLIENT:SASL_PLAINTEXT,TLS:SSL,STRICT:SASL_SSL,CONTROLLER:PLAINTEXT"
            ),
            f"listener.name.strict.{_MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.strict.ssl.client.auth": "required",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.certificate),
            "sasl.enabled.mechanisms": _MECHANISM,
            "sasl.mechanism.inter.broker.protocol": _MECHANISM,
            # The node's login as a client of itself.
            f"listener.name.client.{_MECHANISM.lower()}.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required"
                f' username="{_SUPER_USER}" password="{password}";'
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Only the node itself is anonymous: the controller's listener has no login, but the
            # clients' listener requires one.
            "super.users": f"User:{_SUPER_USER};User:ANONYMOUS",
        }
