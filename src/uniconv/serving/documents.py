"""``/v1/documents``: what the index holds, by documents; uploads and deletions when enabled."""

from __future__ import annotations

from asyncio import to_thread
from typing import Any, cast

from fastapi import APIRouter, Request, UploadFile

from uniconv.errors import IndexFolderError
from uniconv.retrieval.index import FolderIndex
from uniconv.retrieval.making import BuildReport
from uniconv.serving.errors import ApiError
from uniconv.serving.service import Service, service_of
from uniconv.serving.uploads import Upload

router = APIRouter()


@router.get("/v1/documents")
async def list_documents(request: Request) -> dict[str, Any]:
    """Every document in the index, with the number of its passages."""
    held = _documents(_enabled(request))
    return {"documents": [{"name": name, "passages": count} for name, count in held.items()]}


@router.post("/v1/documents")
async def add_documents(request: Request, files: list[UploadFile]) -> dict[str, Any]:
    """Adds files to the index, all of them or none; one of a known name replaces it."""
    service = _enabled(request)
    limit = service.settings.max_upload
    uploads = [await to_thread(Upload.checked, file.filename, file.file, limit) for file in files]
    names = [upload.name for upload in uploads]
    if len(set(names)) < len(names):
        raise ApiError(400, "files: two have the same name", "invalid_document", param="files")
    before = _documents(service)
    report = await _updated(service, add=uploads)
    after = _documents(service)
    return {
        "documents": [{"name": name, "passages": after.get(name, 0)} for name in names],
        "added": sum(name not in before for name in names),
        "changed": sum(name in before for name in names),
        "encoded": report.encoded,
        "passages": report.passages,
        "seconds": round(report.seconds, 3),
    }


@router.delete("/v1/documents/{name:path}")
async def delete_document(request: Request, name: str) -> dict[str, Any]:
    """Takes a document out of the index."""
    service = _enabled(request)
    if name not in _documents(service):
        raise ApiError(404, "the index has no document of this name", "not_found", param="name")
    report = await _updated(service, remove=[name])
    return {"deleted": name, "passages": report.passages}


async def _updated(service: Service, **changes: Any) -> BuildReport:
    try:
        return await service.update(**changes)
    except IndexFolderError as error:
        raise ApiError(409, str(error), "conflict") from error


def _enabled(request: Request) -> Service:
    service = service_of(request)
    if not service.settings.documents:
        raise ApiError(
            404,
            "documents can't be changed here; 'uniconv serve --documents' allows it",
            "documents_disabled",
        )
    return service


def _documents(service: Service) -> dict[str, int]:
    """Passages by the name of their document."""
    index = cast(FolderIndex, service.search.index)  # the service refuses others at its start
    records = index.manifest.files.values()
    return {record.name: record.count for record in records}
