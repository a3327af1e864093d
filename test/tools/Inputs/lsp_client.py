"""Talks to attn-lsp-server as an editor does: opens a document, edits it, and prints the diagnostics of each version."""

import json
import subprocess
import sys

URI = "file:///example.mlir"
GOOD = """func.func @f(%q: tensor<1x1x64x64xf16>) -> tensor<1x1x64x64xf16> {
  %o = attn.attention %q, %q, %q mask(causal & !window<4, 0>)
    : (tensor<1x1x64x64xf16>, tensor<1x1x64x64xf16>, tensor<1x1x64x64xf16>) -> tensor<1x1x64x64xf16>
  return %o : tensor<1x1x64x64xf16>
}
"""


def main():
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def send(method, params, number=None):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if number is not None:
            message["id"] = number
        body = json.dumps(message).encode()
        server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        server.stdin.flush()

    def receive():
        length = 0
        while True:
            line = server.stdout.readline().strip()
            if line.startswith(b"Content-Length:"):
                length = int(line.split(b":")[1])
            elif not line:
                return json.loads(server.stdout.read(length))

    def diagnostics(title):
        while True:
            message = receive()
            if message.get("method") == "textDocument/publishDiagnostics":
                found = [f"{d['range']['start']['line'] + 1}: {d['message']}" for d in message["params"]["diagnostics"]]
                print(f"{title}: {found or 'no diagnostics'}")
                return

    send("initialize", {"processId": None, "rootUri": None, "capabilities": {}, "trace": "off"}, 0)
    receive()
    send("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": "mlir", "version": 1, "text": GOOD}})
    diagnostics("opened")
    # Type one character more in the name of the mask, then take it back.
    place = {"line": 1, "character": GOOD.splitlines()[1].index("causal")}
    after = {"line": 1, "character": place["character"] + 1}
    document = {"uri": URI, "version": 2}
    send("textDocument/didChange", {
        "textDocument": document, "contentChanges": [{"range": {"start": place, "end": place}, "text": "x"}]})
    diagnostics("broken")
    send("textDocument/didChange", {
        "textDocument": document, "contentChanges": [{"range": {"start": place, "end": after}, "text": ""}]})
    diagnostics("mended")
    send("shutdown", None, 1)
    send("exit", None)
    server.wait(timeout=10)


main()
