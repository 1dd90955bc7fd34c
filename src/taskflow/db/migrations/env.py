"""Alembic's entry: run each revision in a transaction of its own, on the engine that `db.migrate` made."""

from alembic import context
from sqlalchemy import Engine


def run() -> None:
    engine: Engine = context.config.attributes["engine"]
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        context.configure(
            connection=connection,
            version_table_schema="taskflow",
            transactional_ddl=True,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
