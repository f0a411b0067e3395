"""Run the stages under Prefect: cache key, code hash, executors, resume, Prefect's UI, logs, notifications."""
