/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Who a task is: cgroup, executable, what it was called by, and network namespace, hashed. The names behind the hash are recorded while the task lives. */
#pragma once
#include "maps.h"

static __always_inline struct kernfs_node *kn_parent(struct kernfs_node *kn)
{
	struct kernfs_node___old *old = (void *)kn;

	if (bpf_core_field_exists(kn->__parent))
		return BPF_CORE_READ(kn, __parent);
	return (void *)BPF_CORE_READ(old, parent);
}

static __always_inline void record_path(char path[5][96], struct kernfs_node *kn)
{
#pragma unroll
	for (int i = 0; i < 5; i++) {
		path[i][0] = 0;
		if (!kn)
			continue;
		bpf_probe_read_kernel_str(path[i], 96, BPF_CORE_READ(kn, name));
		kn = kn_parent(kn);
	}
}

struct task_ids {
	__u64 kn_v1, kn_v2, exe; /* pointers */
	__u64 v1, v2, ino;
	__u64 name[4]; /* of the executable: an inode may have several, one after the other too */
	__u32 dev, netns;
};

ARRAY_MAP(task_scratch, BPF_MAP_TYPE_PERCPU_ARRAY, struct task_ids, NUM_SCRATCH); /* of owner_of, which is called with a deep stack */

static __always_inline __u64 task_hash(struct task_struct *task, struct task_ids *t)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup *unified = BPF_CORE_READ(set, dfl_cgrp);
	struct cgroup_subsys_state *css = NULL;
	struct kernfs_node *kn_v1 = NULL, *kn_v2;
	struct cgroup *memory;
	struct file *exe;
	__u64 h = 0x76657463680a0001ULL;

	__builtin_memset(t, 0, sizeof(*t));
	kn_v2 = BPF_CORE_READ(unified, kn);
	t->v2 = BPF_CORE_READ(kn_v2, id);
	if (bpf_core_enum_value_exists(enum cgroup_subsys_id, memory_cgrp_id)) {
		__u32 id = bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
		bpf_probe_read_kernel(&css, sizeof(css), (void *)set + bpf_core_field_offset(set->subsys) + id * sizeof(css));
		memory = BPF_CORE_READ(css, cgroup);
		if (memory && BPF_CORE_READ(memory, root) != BPF_CORE_READ(unified, root)) {
			kn_v1 = BPF_CORE_READ(memory, kn);
			t->v1 = BPF_CORE_READ(kn_v1, id);
		}
	}
	exe = BPF_CORE_READ(task, mm, exe_file);
	if (exe) {
		t->ino = BPF_CORE_READ(exe, f_inode, i_ino);
		t->dev = BPF_CORE_READ(exe, f_inode, i_sb, s_dev);
		bpf_probe_read_kernel_str(t->name, sizeof(t->name), BPF_CORE_READ(exe, f_path.dentry, d_name.name));
	}
	t->kn_v1 = (__u64)kn_v1;
	t->kn_v2 = (__u64)kn_v2;
	t->exe = (__u64)exe;
	t->netns = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	h = mix(h, t->v1);
	h = mix(h, t->v2);
	h = mix(h, t->ino);
#pragma unroll
	for (int i = 0; i < 4; i++)
		h = mix(h, t->name[i]);
	/* and by what it was called: a link to the executable, a script */
	t->name[0] = t->name[1] = 0;
	BPF_CORE_READ_STR_INTO((char(*)[16])t->name, task, group_leader, comm);
	h = mix(h, t->name[0]);
	h = mix(h, t->name[1]);
	h = mix(h, ((__u64)t->dev << 32) | t->netns);
	return h ? h : 1;
}

#define PID_LEVELS 8 /* of namespaces within namespaces that are looked at; a node that is a container has level 1 */

/* The process of a task by the number that it has for user space; 0 where that cannot see it. */
static __always_inline __u32 pid_here(struct task_struct *task)
{
	struct pid_namespace *ns;
	struct pid *pid;
	__u64 numbers, level;

	if (!pid_namespace)
		return BPF_CORE_READ(task, tgid);
	pid = BPF_CORE_READ(task, group_leader, thread_pid);
	level = BPF_CORE_READ(pid, level);
	numbers = (__u64)pid + bpf_core_field_offset(pid->numbers);
	for (__u64 i = 0; i < PID_LEVELS && i <= level; i++) {
		struct upid *number = (struct upid *)(numbers + i * bpf_core_type_size(struct upid));

		ns = BPF_CORE_READ(number, ns);
		if (BPF_CORE_READ(ns, ns.inum) == pid_namespace)
			return BPF_CORE_READ(number, nr);
	}
	return 0;
}

/* Whether the present task is another machine's: a program that is probed may run there too. */
static __always_inline int is_elsewhere(void)
{
	return only_pid_namespace && !pid_here((struct task_struct *)bpf_get_current_task());
}

static __always_inline int is_ignored(__u64 cgroup)
{
	return cgroup && bpf_map_lookup_elem(&ignored, &cgroup) != NULL;
}

#define OWNER_ELSEWHERE ((__u64)-1) /* the task is of another machine: nothing is recorded of it */

/* Finds or records the owner of a task and returns its hash, 0 if there is no room. *drop is set when its traffic is to be ignored. */
static __always_inline __u64 owner_of(struct task_struct *task, __u32 scratch, __u8 *drop)
{
	struct task_ids *t = bpf_map_lookup_elem(&task_scratch, &scratch);
	struct owner_t *o;
	struct file *exe;
	__u64 id;

	if (!t)
		return 0;
	id = task_hash(task, t);
	o = bpf_map_lookup_elem(&owners, &id);
	if (o) {
		*drop = o->ignored;
		return id;
	}
	o = bpf_map_lookup_elem(&owner_scratch, &scratch);
	if (!o)
		return 0;
	o->cgroup_v1 = t->v1;
	o->cgroup_v2 = t->v2;
	o->exe_ino = t->ino;
	o->exe_dev = t->dev;
	o->netns = t->netns;
	o->pid = pid_here(task);
	if (only_pid_namespace && !o->pid) {
		*drop = 1;
		return OWNER_ELSEWHERE;
	}
	o->routes = 0;
	o->overflow = 0;
	o->ignored = is_ignored(t->v1) || is_ignored(t->v2);
	BPF_CORE_READ_STR_INTO(&o->comm, task, group_leader, comm);
	o->exe[0] = 0;
	exe = (struct file *)t->exe;
	if (exe)
		bpf_probe_read_kernel_str(o->exe, sizeof(o->exe), BPF_CORE_READ(exe, f_path.dentry, d_name.name));
	record_path(o->path_v1, (struct kernfs_node *)t->kn_v1);
	record_path(o->path_v2, (struct kernfs_node *)t->kn_v2);
	if (bpf_map_update_elem(&owners, &id, o, BPF_NOEXIST) == -7 /* E2BIG */)
		count_lost(LOST_OWNERS_FULL, 1);
	*drop = o->ignored;
	return id;
}
