"""
Orders over HTTP; each is stored together with the job that confirms it.

    taskflow up
    taskflow worker --app shop:jobs     in this directory
    DATABASE=postgresql+asyncpg://… uvicorn shop:web

The order's table is in the database that TaskFlow uses: then one transaction holds both.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from taskflow import JobContext, TaskFlow

jobs = TaskFlow()


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "shop_order"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)


@jobs.job("confirm_order", queue="shop", retries=5)
async def confirm_order(ctx: JobContext, order_id: int) -> str:
    """Confirm, and complete, in one commit: an order is confirmed exactly once, whatever crashes."""
    async with ctx.transaction() as connection:
        item = await connection.fetchval(
            "UPDATE shop_order SET confirmed = true WHERE id = $1 RETURNING item", order_id
        )
    return f"confirmed: {item}"


def sessions() -> async_sessionmaker[AsyncSession]:
    return async_sessionmaker(create_async_engine(os.environ["DATABASE"]))


@asynccontextmanager
async def lifespan(web: FastAPI) -> AsyncIterator[None]:
    web.state.sessions = sessions()
    engine = web.state.sessions.kw["bind"]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await jobs.close()
    await engine.dispose()


web = FastAPI(lifespan=lifespan)


async def session() -> AsyncIterator[AsyncSession]:
    async with web.state.sessions() as opened:
        yield opened


class NewOrder(BaseModel):
    item: str


@web.post("/orders", status_code=201)
async def order(new: NewOrder, db: Annotated[AsyncSession, Depends(session)]) -> dict[str, str]:
    made = Order(item=new.item)
    db.add(made)
    await db.flush()
    handle = await confirm_order.options(connection=db).enqueue(order_id=made.id)
    await db.commit()  # the order and its job, or neither; workers are woken now
    return {"job": str(handle.job_id)}


@web.get("/jobs/{job_id}")
async def status(job_id: UUID) -> dict[str, object]:
    job = await jobs.handle(job_id).job()
    return {"status": job.state, "result": job.result}
