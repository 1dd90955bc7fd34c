"""Every handler checks for itself. Three people wrote three handlers. One of them was in a hurry."""

ROLES = {"secret-admin-123": "admin", "secret-user-123": "user"}
tasks = {"1": "write"}


def create(token: str, title: object) -> int:
    if token not in ROLES:
        return 401
    if ROLES[token] != "admin":
        return 403
    if not isinstance(title, str):
        return 422
    tasks[str(len(tasks) + 1)] = title
    return 201


def delete(token: str, task_id: str) -> int:
    if token not in ROLES:
        return 401
    tasks.pop(task_id, None)  # and who may?
    return 204


print("a user creates:", create("secret-user-123", "test"), "- and deletes:", delete("secret-user-123", "1"), tasks)
