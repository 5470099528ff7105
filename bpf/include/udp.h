/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* DNS in datagrams: recognised by what they say, and shipped to user space one by one. */
#pragma once
#include "ship.h"

#define DATAGRAM_MAX 4096 /* bytes of a datagram that are shipped */
#define DATAGRAM_TRIES 8  /* datagrams in a row that say something else, after which a socket is left alone */
#define DATAGRAM_AGAIN 64 /* and then one in so many is looked at */
#define DATAGRAM_BATCH 32 /* messages of one sendmmsg or recvmmsg, where the end of the system call is the hook */

#define DNS_HEAD 12 /* bytes of it without the name */

/* One question, or none in an answer that only refuses; nothing else that a plain query or its answer would not have. */
static __always_inline int is_dns(struct dns_head_t *h, __u32 n)
{
	int response = h->flags & 0x80, code = h->more & 0x0f;

	if ((h->flags & 0x78) || (h->more & 0x40) || h->questions[0] || h->answers[0] || h->authorities[0] || h->additionals[0])
		return 0;
	if (!response && (code || h->answers[1] || h->authorities[1] > 1 || h->additionals[1] > 2))
		return 0;
	if (!h->questions[1])
		return response && code && !h->answers[1];
	if (h->questions[1] != 1 || n < DNS_HEAD + 5 || h->label > 63)
		return 0;
	return !h->label || (h->letter > 0x20 && h->letter < 0x7f);
}

/* What is known of a UDP socket. The port is there because another socket may come to be at the same address in memory. */
static __always_inline struct udp_t *udp_of(struct udp_work_t *w)
{
	__u64 sk = w->sk;
	__u16 port = BPF_CORE_READ((struct sock *)sk, __sk_common.skc_num);
	struct udp_t *u = bpf_map_lookup_elem(&udp_sockets, &sk);

	if (u && u->port == port)
		return u;
	__builtin_memset(&w->fresh, 0, sizeof(w->fresh));
	w->fresh.port = port;
	bpf_map_update_elem(&udp_sockets, &sk, &w->fresh, BPF_ANY);
	return bpf_map_lookup_elem(&udp_sockets, &sk);
}

/* sock_send_length and sock_recv_length come once for each message of a call with several. This is the number of the present one;
   a call with less messages than it has room for ends with one that fails, which begins the count anew. */
static __always_inline __u32 count_message(struct udp_t *u, int direction, __u64 array, __u32 messages, __s64 ret)
{
	__u32 i = 0;

	if (ret < 0) {
		u->array[direction & 1] = 0;
		return 0;
	}
	if (u->array[direction & 1] == array && u->next[direction & 1] < messages)
		i = u->next[direction & 1];
	u->array[direction & 1] = array;
	u->next[direction & 1] = i + 1;
	return i;
}

/* Where a datagram goes: what the call says, else what the socket is connected to. Of a datagram that was received only the latter is known. */
static __always_inline void read_remote(struct udp_work_t *w, struct sock *sk, __u64 name)
{
	struct user_sockaddr_in *a = &w->address;
	struct datagram_t *d = &w->record;

	if (name) {
		if (bpf_probe_read_user(a, sizeof(*a), (void *)name)) {
			count_lost(LOST_READ_FAULT, 1);
			return;
		}
		d->remote_port = __builtin_bswap16(a->port);
		if (a->family == AF_INET)
			set_v4(&d->remote, a->address);
		else if (bpf_probe_read_user(&d->remote, sizeof(d->remote), (void *)(name + __builtin_offsetof(struct user_sockaddr_in6, address))))
			count_lost(LOST_READ_FAULT, 1);
		return;
	}
	d->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (!d->remote_port)
		return;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		set_v4(&d->remote, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	else
		BPF_CORE_READ_INTO(&d->remote, sk, __sk_common.skc_v6_daddr);
}

#define SHIP_DATAGRAM(size) \
	static __noinline int ship_datagram_##size(struct datagram_t *d, __u64 address) \
	{ \
		struct datagram_t *r = bpf_ringbuf_reserve(&records, sizeof(*r) + size, 0); \
		__u32 n = d->head.length; \
		if (!r) \
			return 0; \
		*r = *d; \
		if (n > size) \
			n = size; \
		if (bpf_probe_read_user(r + 1, n, (void *)address)) { \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP); \
			count_lost(LOST_READ_FAULT, 1); \
			return 1; \
		} \
		bpf_ringbuf_submit(r, bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) > ring_bytes / 4 ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP); \
		return 1; \
	}
SHIP_DATAGRAM(64)
SHIP_DATAGRAM(512)
SHIP_DATAGRAM(4096)

static __always_inline void ship_datagram(struct datagram_t *d, __u64 address)
{
	int ok;

	if (d->head.length <= 64)
		ok = ship_datagram_64(d, address);
	else if (d->head.length <= 512)
		ok = ship_datagram_512(d, address);
	else
		ok = ship_datagram_4096(d, address);
	if (!ok)
		count_lost(LOST_RING_FULL, 1);
}

/* Looks at the message in the scratch. A global function: the verifier looks at it once. */
__noinline int on_datagram(__u32 direction)
{
	__u32 zero_key = 0, n;
	struct udp_work_t *w = bpf_map_lookup_elem(&udp_work, &zero_key);
	struct dns_head_t *h;
	struct datagram_t *d;
	struct udp_t *u;
	__u64 sk, owner;
	__u8 drop = 0;

	if (!w || !w->buffer || w->length < DNS_HEAD)
		return 0;
	n = w->length < w->room ? w->length : w->room;
	sk = w->sk;
	u = udp_of(w);
	if (!u)
		return 0;
	if (u->others >= DATAGRAM_TRIES && (++u->others & (DATAGRAM_AGAIN - 1)))
		return 0;
	h = &w->head;
	__builtin_memset(h, 0, sizeof(*h));
	if (n < DNS_HEAD || bpf_probe_read_user(h, n < sizeof(*h) ? DNS_HEAD : sizeof(*h), (void *)w->buffer) || !is_dns(h, n)) {
		if (u->others < DATAGRAM_TRIES)
			u->others++;
		return 0;
	}
	u->others = 0;
	/* not kept with the socket: another one may have come to its address in memory and its port */
	owner = owner_of((struct task_struct *)bpf_get_current_task(), SCRATCH_HOOK, &drop);
	if (drop)
		return 0;
	d = &w->record;
	__builtin_memset(d, 0, sizeof(*d));
	d->head.sk = sk;
	d->head.now = bpf_ktime_get_ns();
	d->head.kind = RECORD_DATAGRAM;
	d->head.direction = direction;
	d->head.length = n < DATAGRAM_MAX ? n : DATAGRAM_MAX;
	d->owner = owner;
	d->netns = BPF_CORE_READ((struct sock *)sk, __sk_common.skc_net.net, ns.inum);
	d->local_port = u->port;
	read_local((struct sock *)sk, &d->local);
	read_remote(w, (struct sock *)sk, direction == SENT ? w->name : 0);
	ship_datagram(d, w->buffer);
	return 0;
}

/* Puts where the data of a message lies into the scratch: a plain buffer, or the first of several. */
static __always_inline void set_buffer(struct udp_work_t *w, __u64 address, __u64 room, __u64 name)
{
	w->buffer = address;
	w->room = room;
	w->name = name;
}

static __always_inline void set_vector(struct udp_work_t *w, __u64 address, __u64 count, __u64 name)
{
	struct iovec *v = &w->vector;

	set_buffer(w, 0, 0, 0);
	if (!count)
		return;
	if (bpf_probe_read_user(v, sizeof(*v), (void *)address)) {
		count_lost(LOST_READ_FAULT, 1);
		return;
	}
	set_buffer(w, v->iov_base, v->iov_len, name);
}

static __always_inline void set_header(struct udp_work_t *w, __u64 address)
{
	struct user_msghdr *m = &w->header;

	set_buffer(w, 0, 0, 0);
	if (bpf_probe_read_user(m, sizeof(*m), (void *)address)) {
		count_lost(LOST_READ_FAULT, 1);
		return;
	}
	set_vector(w, m->msg_iov, m->msg_iovlen, m->msg_namelen >= (__s32)sizeof(struct user_sockaddr_in) ? m->msg_name : 0);
}
