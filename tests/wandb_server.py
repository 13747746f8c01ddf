"""A loopback server that speaks what the W&B client asks while it starts a run, logs, uploads an artifact and finishes."""

import gzip
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "local" + "0" * 40


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, answer) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self._body()
        self._reply({})

    def do_PUT(self):
        with self.server.lock:
            self.server.files[self.path] = self._body()
        self._reply({})

    def do_POST(self):
        body = self._body()
        if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            chunk = json.loads(body)
            with self.server.lock:
                run = self.server.runs.setdefault(stream[1], {"lines": {}})
                for name, part in (chunk.get("files") or {}).items():
                    run["lines"].setdefault(name, []).extend(part["content"])
                if chunk.get("complete"):
                    run["exit_code"] = chunk.get("exitcode")
            return self._reply({"exitcode": None, "limits": {}})
        if self.path != "/graphql":
            return self._reply({})
        request = json.loads(body)
        name = request.get("operationName") or (re.search(r"(?:query|mutation)\s+(\w+)", request["query"]) or ("", ""))[1]
        with self.server.lock:
            answer = self._answer(name, request.get("variables") or {})
        self._reply({"data": answer})

    def _upload(self, path: str) -> dict:
        return {"uploadUrl": f"http://{self.headers['Host']}/upload/{path}", "uploadHeaders": []}

    def _answer(self, operation: str, given: dict) -> dict:
        project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "me"}}
        details = given.get("input") or given
        match operation:
            case "Viewer" | "GetDefaultEntity":
                return {"viewer": {"id": "1", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
            case "ServerFeaturesQuery":
                return {"serverInfo": {"features": []}}
            case "UpsertBucket":
                self.server.runs.setdefault(given["name"], {"lines": {}}).update({k: v for k, v in given.items() if v is not None})
                bucket = {"id": given["name"], "name": given["name"], "displayName": given.get("displayName"), "config": "{}"}
                return {"upsertBucket": {"bucket": bucket | {"project": project, "historyLineCount": 0}, "inserted": True}}
            case "CreateRunFiles":
                files = [{"name": name, **self._upload(name)} for name in given["files"]]
                return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
            case "CreateArtifact":
                artifact = {"id": "a", "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
                return {"createArtifact": {"artifact": artifact}}
            case "CreateArtifactManifest":
                name = details.get("name")
                file = {"id": "f", "name": name, "displayName": name, **self._upload("manifest")}
                return {"createArtifactManifest": {"artifactManifest": {"id": "m", "displayName": name, "file": file}}}
            case "CreateArtifactFiles":
                nodes = [
                    {"id": str(i), "name": f["name"], "displayName": f["name"], "uploadMultipartUrls": None, "storagePath": f["name"]}
                    | self._upload(f"artifact/{f['name']}")
                    | {"artifact": {"id": "a"}}
                    for i, f in enumerate(details["artifactFiles"])
                ]
                return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}
            case "ProjectInternalId" | "projectInternalId":
                return {"project": {"internalId": "1"}}
            case "GetProjects":
                node = {"__typename": "Project", "id": "1", "name": "ssl-mnist", "entityName": "me", "isBenchmark": False, "user": None}
                page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
                return {"models": {"pageInfo": page, "edges": [{"node": node | {"createdAt": "2026-01-01T00:00:00Z"}}]}}
            case "upsertView" | "UpsertView":
                self.server.views.append(given)
                view = {key: given.get(key) for key in ("type", "name", "displayName", "description", "spec")}
                owner = {"id": "1", "name": given["projectName"], "entityName": given["entityName"]}
                return {"upsertView": {"view": view | {"id": "VmlldzoxMjM=", "updatedAt": None, "project": owner}, "inserted": True}}
            case "CommitArtifact":
                return {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}}
        return dict.fromkeys(("project", "entity", "model", "viewer"))


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock, self.runs, self.files, self.views = threading.RLock(), {}, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_):
        pass  # the client resets idle connections when it exits


@contextmanager
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
