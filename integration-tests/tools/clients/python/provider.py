"""An identity provider over HTTPS: `provider.py PORT CERTIFICATE KEY JWKS TOKEN CREDENTIALS`.

GET /keys is answered with the file JWKS; POST /token, by whoever shows CREDENTIALS (`id:secret`), with the token in the file
TOKEN. Serves until it is ended; tells each request.
"""

import base64
import http.server
import json
import ssl
import sys

port, certificate, key, keys, token, credentials = sys.argv[1:]
EXPECTED = "Basic " + base64.b64encode(credentials.encode()).decode()


class Provider(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(keys, "rb") as file:
            self.answer(200 if self.path == "/keys" else 404, file.read())

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path != "/token" or self.headers["Authorization"] != EXPECTED or "client_credentials" not in form:
            return self.answer(401, b"{}")
        with open(token) as file:
            self.answer(200, json.dumps({"access_token": file.read(), "expires_in": 600}).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Provider)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
