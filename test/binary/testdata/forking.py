"""A server that forks for every connection. Prints where it listens."""
import os
import signal
import socket

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("listening 127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        seen = b""
        while data := connection.recv(4096):
            seen += data
            while b"\r\n\r\n" in seen:
                seen = seen.split(b"\r\n\r\n", 1)[1]
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")
        os._exit(0)
    connection.close()
