//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Parts of the programs that tests run by themselves (BPF_PROG_TEST_RUN). The agent does not load them. */
#include "include/plain.h"

struct try_bucket_t {
	__u64 ns;
	__u64 bucket;
};

SEC("syscall")
int try_bucket(struct try_bucket_t *a)
{
	a->bucket = bucket_of(a->ns);
	return 0;
}

/* One call's bytes, at an address of the testing process, for a connection that it put into the map. */
struct try_parse_t {
	__u64 sk;
	__u64 address;
	__u64 length;
	__u64 now;
	__u32 direction;
	__u32 iovecs;
};

SEC("syscall")
int try_parse(struct try_parse_t *a)
{
	struct buffers_t b = {.address = a->address, .iovecs = a->iovecs};
	__u64 sk = a->sk;
	struct conn_t *c = bpf_map_lookup_elem(&conns, &sk);
	int response;

	if (!c)
		return 1;
	if (c->protocol == PROTO_OTHER || c->protocol == PROTO_TLS)
		return 0;
	c->skip[a->direction & 1] = 0;
	c->streams[a->direction & 1].seq += a->length;
	response = (c->role == ROLE_CLIENT) == (a->direction == RECEIVED);
	if (!b.address && c->protocol <= PROTO_HTTP1)
		gap(c, sk, &c->streams[a->direction & 1], a->length, a->now, response, 1);
	else if (c->protocol <= PROTO_HTTP1)
		parse(c, sk, a->direction & 1, &b, a->length, a->now, response, 1, 0);
	if (c->protocol == PROTO_STREAM && !c->tls)
		pass_on(c, &sk, a->direction & 1, &b, a->length, c->streams[a->direction & 1].seq, a->now, 1);
	return 0;
}

/* Plain text of TLS, as a uprobe would show it. */
SEC("syscall")
int try_plain(struct try_parse_t *a)
{
	return tls_thread_made() ? !plain_text(a->sk, a->address, a->length, a->now, a->direction) : 1;
}
