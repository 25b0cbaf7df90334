"""A TCP port of loopback that leads to a unix socket, as `ssh -L` makes one: browsers do not open unix sockets."""
import socket
import threading


def to_socket(path):
    """Listens on a free port, which it returns, for as long as the process lives."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, args=(server, path), daemon=True).start()
    return server.getsockname()[1]


def accept(server, path):
    while True:
        client, _ = server.accept()
        gateway = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        gateway.connect(path)
        for one, other in ((client, gateway), (gateway, client)):
            threading.Thread(target=copy, args=(one, other), daemon=True).start()


def copy(one, other):
    try:
        while octets := one.recv(65536):
            other.sendall(octets)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass
