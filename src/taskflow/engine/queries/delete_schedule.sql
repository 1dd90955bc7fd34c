-- Forget a schedule; its ledger stays until it is pruned. Locks: its row, so that one that is being fired is waited for.
-- Index: schedule_list.
DELETE FROM taskflow.schedule WHERE id = :schedule_id AND namespace = :namespace RETURNING id;
