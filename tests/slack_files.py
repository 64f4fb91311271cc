"""Files: upload in three steps, shared as a message, downloaded with the token."""

from __future__ import annotations

import mimetypes
import time
from typing import Any

from slack_chat import clear_status, thread_of
from slack_hub import Hub
from slack_state import BOT_USER, Json, Refused, Upload, Workspace, bot_message

SNIPPET = 1_000_000


def upload_url(hub: Hub, args: Json, warnings: list[str]) -> Json:
    if args.get("snippet_type") and args["length"] > SNIPPET:
        raise Refused("snippet_too_large")
    file = Upload(hub.space.id("F"), args["filename"], args["length"], BOT_USER)
    hub.space.files[file.id] = file
    return {"upload_url": f"{hub.space.base}/upload/v1/{file.id}", "file_id": file.id}


def take(space: Workspace, name: str, data: bytes) -> str:
    """Keep the uploaded bytes; a sentence when they are not those that were announced, else ''."""
    file = space.files.get(name)
    if file is None:
        return "unknown upload"
    if len(data) != file.length:
        return f"{len(data)} bytes instead of {file.length}"
    file.data = data
    return ""


def complete(hub: Hub, args: Json, warnings: list[str]) -> Json:
    wanted: list[Json] = args["files"]
    if not isinstance(wanted, list) or not wanted or not all(isinstance(f, dict) and "id" in f for f in wanted):
        raise Refused("invalid_arguments", "[ERROR] must be an array of objects with an id [json-pointer:/files]")
    files = [ready(hub.space, item["id"]) for item in wanted]
    for file, item in zip(files, wanted, strict=True):
        file.title = item.get("title") or file.name
        file.shared = True
    if args.get("channel_id"):
        share(hub, args, files)
    return {"files": [{"id": file.id, "title": file.title} for file in files]}


def ready(space: Workspace, name: str) -> Upload:
    file = space.files.get(name)
    if file is None or file.data is None or file.shared:
        raise Refused("file_not_found")
    return file


def share(hub: Hub, args: Json, files: list[Upload]) -> None:
    channel = hub.channel(args["channel_id"], member=True)
    if channel.archived:
        raise Refused("posting_to_channel_denied")
    thread = thread_of(channel, args.get("thread_ts"))
    message = bot_message(args.get("initial_comment") or "", None, thread)
    message |= {"files": [described(hub.space, file) for file in files], "upload": True, "subtype": "file_share"}
    hub.space.put(channel, message)
    clear_status(hub, channel.id, thread)
    hub.posted(channel, message)


def described(space: Workspace, file: Upload) -> Json:
    """The file as messages and files.info show it."""
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    page, address = f"{space.base}/files/{file.id}", f"{space.base}/files-pri/{file.id}/{file.name}"
    shown = {
        "id": file.id,
        "created": int(time.time()),
        "name": file.name,
        "title": file.title or file.name,
        "permalink": page,
    }
    shown |= {"size": file.length, "mimetype": kind, "filetype": file.name.rpartition(".")[2], "user": file.user}
    return {
        **shown,
        "mode": "hosted",
        "url_private": address,
        "url_private_download": address,
        "permalink": f"{space.base}/files/{file.id}",
    }


def info(hub: Hub, args: Json, warnings: list[str]) -> Json:
    file = hub.space.files.get(args["file"])
    if file is None or file.data is None:
        raise Refused("file_not_found")
    return {"file": described(hub.space, file), "comments": [], "response_metadata": {"next_cursor": ""}}


def attach(space: Workspace, user: str, name: str, data: bytes) -> Json:
    """A file that a person attaches to what they say."""
    file = Upload(space.id("F"), name, len(data), user, name, data, shared=True)
    space.files[file.id] = file
    return described(space, file)


METHODS: dict[str, Any] = {
    "files.getUploadURLExternal": upload_url,
    "files.completeUploadExternal": complete,
    "files.info": info,
}
