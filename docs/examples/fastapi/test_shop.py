"""How an application tests its jobs: in a transaction that is rolled back, with `taskflow.testing`."""

from typing import Any

from shop import confirm_order, jobs

from taskflow.testing import in_transaction


async def test_an_order_is_confirmed(order_table: Any) -> None:
    async with in_transaction(jobs) as work, jobs.transaction() as connection:
        order_id = await connection.fetchval(
            "INSERT INTO shop_order (item, confirmed) VALUES ('lamp', false) RETURNING id"
        )
        await confirm_order.options(connection=connection).enqueue(order_id=order_id)
        [job] = await work.run_until_idle()
        assert job.result == "confirmed: lamp"
        assert await connection.fetchval("SELECT confirmed FROM shop_order WHERE id = $1", order_id)
