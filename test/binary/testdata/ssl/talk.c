/* Speaks HTTP/1.1 over OpenSSL's interface, which BoringSSL has too. It is built for tests of vetch.

     talk serve ADDRESS PORT CERT KEY
     talk ask ADDRESS PORT CONNECTIONS REQUESTS MEMORY

   The server answers /no with 404 and all else with 200, /long with a long body, in a process for each connection. The client asks REQUESTS
   on each connection, one connection after the other; where MEMORY is not 0, it carries the cipher text itself. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *paths[] = {"/ok", "/no", "/long"};

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* A session on a socket, by its descriptor or by memory that is carried to and from it. */
struct stream {
	SSL *ssl;
	int fd;
	BIO *in, *out; /* NULL: the library reads and writes the socket */
};

/* Writes what the library has for the peer. */
static void carry_out(struct stream *s)
{
	char buf[20000];
	int n;

	while (s->out && (n = BIO_read(s->out, buf, sizeof(buf))) > 0)
		must(write(s->fd, buf, n) == n, "write");
}

/* Reads what the library wants of the peer; 0 at the end. */
static int carry_in(struct stream *s)
{
	char buf[20000];
	int n = read(s->fd, buf, sizeof(buf));

	if (n > 0)
		must(BIO_write(s->in, buf, n) == n, "BIO_write");
	return n > 0;
}

static void open_stream(struct stream *s, SSL_CTX *ctx, int fd, int memory, int server)
{
	int r;

	s->ssl = SSL_new(ctx);
	s->fd = fd;
	s->in = s->out = NULL;
	if (memory) {
		s->in = BIO_new(BIO_s_mem());
		s->out = BIO_new(BIO_s_mem());
		SSL_set_bio(s->ssl, s->in, s->out);
	} else {
		SSL_set_fd(s->ssl, fd);
	}
	if (server)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	for (;;) {
		r = SSL_do_handshake(s->ssl);
		carry_out(s);
		if (r == 1)
			return;
		must(memory && SSL_get_error(s->ssl, r) == SSL_ERROR_WANT_READ && carry_in(s), "handshake");
	}
}

static int stream_read(struct stream *s, char *buf, int room)
{
	int n;

	for (;;) {
		n = SSL_read(s->ssl, buf, room);
		carry_out(s);
		if (n > 0 || !s->in || SSL_get_error(s->ssl, n) != SSL_ERROR_WANT_READ || !carry_in(s))
			return n;
	}
}

static void stream_write(struct stream *s, const char *buf, int n)
{
	must(SSL_write(s->ssl, buf, n) == n, "SSL_write");
	carry_out(s);
}

static void close_stream(struct stream *s)
{
	SSL_shutdown(s->ssl);
	carry_out(s);
	SSL_free(s->ssl);
	close(s->fd);
}

/* Reads up to and with the empty line behind a head; 0 when the peer is done. The head is NUL-terminated, what was read of the body counted. */
static int read_head(struct stream *s, char *head, int room, int *body)
{
	int have = 0, n;
	char *end;

	for (;;) {
		n = stream_read(s, head + have, room - 1 - have);
		if (n <= 0)
			return 0;
		have += n;
		head[have] = 0;
		end = strstr(head, "\r\n\r\n");
		if (end) {
			*body = have - (int)(end + 4 - head);
			return 1;
		}
		must(have < room - 1, "a head without end");
	}
}

static void answer(SSL_CTX *ctx, int fd)
{
	static char text[400000], head[20000];
	struct stream s;
	int body, n, no, size;

	open_stream(&s, ctx, fd, 0, 1);
	while (read_head(&s, head, sizeof(head), &body)) {
		no = !strncmp(head, "GET /no ", 8);
		size = strncmp(head, "GET /long ", 10) ? 2 : 300000;
		n = sprintf(text, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n", no ? "404 Not Found" : "200 OK", size);
		memset(text + n, 'x', size);
		stream_write(&s, text, n + size);
	}
	close_stream(&s);
}

static void ask(SSL_CTX *ctx, struct sockaddr_in *address, int requests, int memory)
{
	static char head[40000];
	struct stream s;
	int fd = socket(AF_INET, SOCK_STREAM, 0), i, n, left;
	char *length;

	must(!connect(fd, (struct sockaddr *)address, sizeof(*address)), "connect");
	open_stream(&s, ctx, fd, memory, 0);
	for (i = 0; i < requests; i++) {
		n = sprintf(head, "GET %s HTTP/1.1\r\nHost: talk\r\n\r\n", paths[i % 3]);
		stream_write(&s, head, n);
		must(read_head(&s, head, sizeof(head), &n), "read");
		length = strstr(head, "Content-Length: ");
		must(length != NULL, "length");
		for (left = atoi(length + 16) - n; left > 0; left -= n) {
			n = stream_read(&s, head, sizeof(head) < (size_t)left ? (int)sizeof(head) : left);
			must(n > 0, "read");
		}
	}
	close_stream(&s);
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int server = argc > 1 && !strcmp(argv[1], "serve"), one = 1, fd, i;
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());

	must(argc >= 6 && ctx != NULL, "usage: see the source");
	address.sin_port = htons(atoi(argv[3]));
	must(inet_pton(AF_INET, argv[2], &address.sin_addr) == 1, "address");
	signal(SIGPIPE, SIG_IGN);
	if (!server) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		for (i = 0; i < atoi(argv[4]); i++)
			ask(ctx, &address, atoi(argv[5]), argc > 6 && atoi(argv[6]));
		return 0;
	}
	must(SSL_CTX_use_certificate_file(ctx, argv[4], SSL_FILETYPE_PEM) == 1, "certificate");
	must(SSL_CTX_use_PrivateKey_file(ctx, argv[5], SSL_FILETYPE_PEM) == 1, "key");
	signal(SIGCHLD, SIG_IGN);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(!bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 128), "listen");
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c >= 0 && !fork()) {
			close(fd);
			answer(ctx, c);
			_exit(0);
		}
		close(c);
	}
}
