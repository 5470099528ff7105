/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Connections, and the pairs (owner, peer, port) that they are added up in. */
#pragma once
#include "owner.h"

static __always_inline int is_tcp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline int is_udp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_UDP;
}

/* The TCP, MPTCP or UDP socket behind a file, or another one's; NULL if it is no socket. */
static __always_inline struct sock *any_socket_of_file(struct file *file)
{
	struct socket *socket;
	struct sock *sk;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & 0170000) != 0140000)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	/* Go listens with MPTCP: its first subflow is the TCP socket, and what is accepted from plain clients is plain TCP. */
	if (sk && bpf_core_field_exists(((struct mptcp_sock *)0)->first) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP)
		sk = BPF_CORE_READ((struct mptcp_sock *)sk, first);
	return sk;
}

/* The TCP socket behind a file, NULL if it is none. */
static __always_inline struct sock *socket_of_file(struct file *file)
{
	struct sock *sk = any_socket_of_file(file);

	return sk && is_tcp(sk) ? sk : NULL;
}

static __always_inline void set_v4(struct addr_t *a, __be32 v4)
{
	__builtin_memset(a, 0, sizeof(*a));
	a->b[10] = 0xff;
	a->b[11] = 0xff;
	__builtin_memcpy(&a->b[12], &v4, 4);
}

static __always_inline void read_local(struct sock *sk, struct addr_t *a)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		set_v4(a, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		BPF_CORE_READ_INTO(a, sk, __sk_common.skc_v6_rcv_saddr);
}

/* Reads both ends of a socket. */
static __always_inline void read_tuple(struct sock *sk, struct conn_t *c)
{
	c->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	c->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	c->remote_port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	c->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	read_local(sk, &c->local);
	if (c->family == AF_INET)
		set_v4(&c->remote, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	else
		BPF_CORE_READ_INTO(&c->remote, sk, __sk_common.skc_v6_daddr);
}

static __always_inline int is_loopback(struct addr_t *a)
{
	__u64 high, low;

	__builtin_memcpy(&high, a->b, 8);
	__builtin_memcpy(&low, a->b + 8, 8);
	if (high)
		return 0;
	if ((low & 0xffffffff) == 0xffff0000)
		return a->b[12] == 127;
	return low == 0x0100000000000000ULL;
}

/* The sequence number of the SYN, as far as either end's counters tell; it does not change while the connection lives. */
static __always_inline __u32 client_isn(struct sock *sk, __u8 role)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;

	if (role == ROLE_CLIENT)
		return BPF_CORE_READ(tp, snd_una) - (__u32)BPF_CORE_READ(tp, bytes_acked); /* the SYN counts as a byte here */
	return BPF_CORE_READ(tp, rcv_nxt) - (__u32)BPF_CORE_READ(tp, bytes_received) - 1;
}

/* Under which the client's end of a connection is known until the server's end is found. c is either end. */
static __always_inline void source_key(struct source_key_t *k, struct conn_t *c)
{
	struct addr_t *addr = c->role == ROLE_CLIENT ? &c->local : &c->remote;

	k->addr = *addr;
	k->scope = is_loopback(addr) ? c->netns : 0;
	k->isn = c->client_isn;
	k->port = c->role == ROLE_CLIENT ? c->local_port : c->remote_port;
	k->pad = 0;
}

/* The socket that listens on a connection's local port: by exact address, then for all addresses of either family. */
static __always_inline struct listener_t *find_listener(struct conn_t *c)
{
	struct listener_key_t k = {.netns = c->netns, .port = c->local_port};
	struct listener_t *l;

	k.addr = c->local;
	l = bpf_map_lookup_elem(&listeners, &k);
	if (l)
		return l;
	set_v4(&k.addr, 0);
	if (c->family == AF_INET) {
		l = bpf_map_lookup_elem(&listeners, &k);
		if (l)
			return l;
	}
	__builtin_memset(&k.addr, 0, sizeof(k.addr));
	return bpf_map_lookup_elem(&listeners, &k);
}

static __always_inline struct conn_t *new_conn(struct sock *sk, __u64 now)
{
	struct zero_t *z = zeroes();
	__u64 key = (__u64)sk;
	struct conn_t *c;

	if (!z)
		return NULL;
	if (!bpf_map_update_elem(&conns, &key, &z->conn, BPF_NOEXIST)) {
		count(COUNT_CONNS_ADDED);
	} else if (bpf_map_update_elem(&conns, &key, &z->conn, BPF_EXIST)) { /* it is there when a socket connects again */
		count_lost(LOST_CONNS_FULL, 1);
		return NULL;
	}
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c)
		return NULL;
	read_tuple(sk, c);
	c->opened_ns = now;
	c->synced = 1;
	return c;
}

static __always_inline __u64 pair_hash(struct pair_key_t *k)
{
	__u64 *w = (__u64 *)k;
	__u64 h = 1;

#pragma unroll
	for (int i = 0; i < sizeof(*k) / 8; i++)
		h = mix(h, w[i]);
	return h ? h : 1;
}

static __always_inline struct pair_t *pair_of(struct conn_t *c)
{
	__u64 id = c->pair;

	return bpf_map_lookup_elem(&pairs, &id);
}

/* Binds a connection to its pair, once, when as much is known of its peer as ever will be. */
static __always_inline struct pair_t *bind_pair(struct conn_t *c, __u64 now)
{
	struct pair_key_t k;
	struct pair_t *p;
	struct zero_t *z;
	__u64 id;

	__builtin_memset(&k, 0, sizeof(k));
	k.owner = c->owner;
	k.peer = c->peer;
	k.netns = c->netns;
	k.role = c->role;
	k.family = c->family;
	k.remote = c->remote;
	k.local = c->local;
	if (c->role == ROLE_CLIENT) {
		k.remote_port = c->remote_port;
		k.actual = c->actual;
		k.actual_port = c->actual_port;
	} else {
		k.local_port = c->local_port;
		if (c->translated)
			k.remote_port = c->remote_port;
	}
	id = pair_hash(&k);
	p = bpf_map_lookup_elem(&pairs, &id);
	if (!p) {
		z = zeroes();
		if (!z)
			return NULL;
		bpf_map_update_elem(&pairs, &id, &z->pair, BPF_NOEXIST);
		p = bpf_map_lookup_elem(&pairs, &id);
		if (!p) {
			count_lost(LOST_PAIRS_FULL, 1);
			return NULL;
		}
		p->key = k;
	}
	c->pair = id;
	p->sample_local = c->local;
	p->sample_port = c->local_port;
	p->last_ns = now;
	return p;
}

/* Moves the bytes that a connection collected to where they are added up. A thread that reads it and one that writes it may do so at once. Without an
   atomic exchange (see swap_state) both may have the same bytes: then those are missing from what is collected, until as many more have come. */
static __always_inline void move_bytes(__u64 *to, __u64 *collected, int atomics)
{
	__s64 n = *(volatile __s64 *)collected;

	if (n <= 0)
		return;
	if (atomics)
		n = __sync_lock_test_and_set(collected, 0);
	else
		__sync_fetch_and_add(collected, -n);
	__sync_fetch_and_add(to, n);
}

/* Adds to the pair what the connection collected since the last time. */
static __always_inline void flush(struct conn_t *c, struct pair_t *p, __u64 now, int atomics)
{
	move_bytes(&p->sent, &c->sent, atomics);
	move_bytes(&p->received, &c->received, atomics);
	if (c->retransmits)
		__sync_fetch_and_add(&p->retransmits, c->retransmits);
	c->retransmits = 0;
	p->last_ns = now;
}

static __noinline void bind_established(struct conn_t *c, __u64 now)
{
	__u64 peer_sk = c->peer_sk;
	struct conn_t *peer;
	struct pair_t *p;

	if (c->bound || c->ignored)
		return;
	c->bound = 1;
	if (c->role == ROLE_CLIENT && peer_sk) {
		/* who listens is not always who serves: socket activation */
		peer = bpf_map_lookup_elem(&conns, &peer_sk);
		if (peer && peer->owned && peer->role == ROLE_SERVER && peer->remote_port == c->local_port &&
		    peer->local_port == c->actual_port) /* and not another socket at the same address in memory */
			c->peer = peer->owner;
	}
	p = bind_pair(c, now);
	if (!p)
		return;
	__sync_fetch_and_add(&p->active, 1);
	if (!c->adopted) {
		__sync_fetch_and_add(&p->opened, 1);
		if (c->role == ROLE_CLIENT)
			__sync_fetch_and_add(&p->connect_ns, c->established_ns - c->opened_ns);
	}
}

static __always_inline void sample_rtt(struct sock *sk, struct conn_t *c, struct pair_t *p, __u64 now)
{
	__u32 us = BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3;
	__u32 i = 0;

	c->last_rtt_ns = now;
	if (!us)
		return;
	/* bucket i holds (2^(i-21) s, 2^(i-20) s]; 2^-20 s is 0.954 us, so compare us*2^20/10^6 with powers of two */
	__u64 x = (((__u64)us << 20) / 1000000);
#pragma unroll
	for (int b = 0; b < NUM_RTT_BUCKETS - 1; b++)
		i += (((1ULL << b) - 1) - x) >> 63;
	if (i < NUM_RTT_BUCKETS)
		__sync_fetch_and_add(&p->rtt[i], 1);
	__sync_fetch_and_add(&p->rtt_us, us);
}

/* Bytes of a stream that went past every hook (splice, io_uring) until the connection closed. */
static __always_inline __u64 unseen(struct stream_t *s, __u32 closed_seq)
{
	__u32 n = closed_seq - s->seq;

	return n < 1U << 31 ? n : 0;
}
