/* SPDX-License-Identifier: MIT */
/*
 * Random programs against the whole model. A script is a sequence of operations drawn from a seed: processes and threads
 * map, unmap, protect, move, fork, exit, store, load, advise, lock, migrate, bind, split, get and pin. A shadow knows what
 * every page of every address space must hold; after each operation check_machine() must be silent and every mapped page
 * must hold its word.
 *
 * The shadow is a model of the interface, not of the implementation: one record per page and process.
 *
 *      slot 0            slot 1            ...            each slot: SLOT_HUGE huge pages of address space, then a hole
 *      [................][................]
 *
 *      a page is    a hole
 *                   private: its own word (0 until stored; a private file page has none until stored)
 *                   of an object (file, shared memory): the object's word
 *
 * A failure prints the seed, the operation and how to run that one script again.
 */
#ifndef TESTS_ENGINES_RANDOM_SCRIPT_H
#define TESTS_ENGINES_RANDOM_SCRIPT_H

#include "fixtures/scene_world.h"

#include <pagesim/mprotect.h>
#include <pagesim/rng.h>

#define SLOTS       4
#define SLOT_HUGE   3
#define MAX_SPACES  3
#define MAX_TASKS   5
#define MAX_OBJECTS 48
#define MAX_HELD    12
#define NO_OBJECT   (-1)

/** One page of one address space. */
struct shadow_page {
	bool mapped, readable, writable, locked, dontfork;
	bool own;    /* private word; anonymous pages always */
	s16 object;  /* NO_OBJECT: anonymous */
	bool shared; /* of the object: stores reach it */
	u32 index;   /* page of the object */
	u64 word;    /* if own */
};

struct shadow_object {
	bool used;
	const char *path; /* NULL: shared anonymous memory */
	u32 size;         /* pages; words beyond are 0 */
	u64 *word;
};

struct shadow_space {
	bool used;
	struct shadow_page *page; /* SLOTS * slot_pages */
};

struct shadow_task {
	struct task_struct *task;
	int space;
};

struct held {
	struct page *page;
	unsigned int flags;
	int space;
	u32 at;     /* page of the space where it was got */
	bool there; /* and where it must still be mapped: a pin of private memory */
};

struct random_script {
	u64 seed;
	struct ps_rng rng;
	bool verbose;
	bool tight; /* memory may run out */
	unsigned int op, operations;
	char what[160]; /* the operation under way */
	u32 slot_pages, nr_pages;
	struct shadow_task task[MAX_TASKS];
	unsigned int nr_tasks;
	struct shadow_space space[MAX_SPACES];
	struct shadow_object object[MAX_OBJECTS];
	struct held held[MAX_HELD];
	unsigned int nr_held;
	u64 next_word;
	/* The task that acts. */
	struct shadow_task *me;
	struct shadow_page *pages;
	bool failed;
};

static struct random_script *the_script;

static inline u64 pick(u64 bound)
{
	return ps_rng_below(&the_script->rng, bound);
}

static inline bool chance(u32 percent)
{
	return pick(100) < percent;
}

__attribute__((format(printf, 1, 2))) static inline void script_fails(const char *format, ...)
{
	struct random_script *s = the_script;
	va_list args;

	if (s->failed)
		return;
	s->failed = true;
	print_error("seed %lu, operation %u (%s): ", (unsigned long)s->seed, s->op, s->what);
	va_start(args, format);
	vprint_error(format, args);
	va_end(args);
	print_error("\n    again: test-engines-world --seed %lu %u\n", (unsigned long)s->seed, s->operations);
}

__attribute__((format(printf, 1, 2))) static inline void doing(const char *format, ...)
{
	struct random_script *s = the_script;
	va_list args;

	va_start(args, format);
	vsnprintf(s->what, sizeof(s->what), format, args);
	va_end(args);
	if (s->verbose)
		print_message("%4u %s cpu%d: %s\n", s->op, ps_current->comm, ps_current->cpu, s->what);
}

/* A BUG names the script before it ends the program. */
static inline void script_bug(void *arg, const struct ps_bug *bug)
{
	struct random_script *s = (struct random_script *)arg;

	if (bug->kind != PS_BUG) {
		script_fails("warning: %s at %s:%d", bug->expr, bug->file, bug->line);
		return;
	}
	print_error("seed %lu, operation %u (%s): BUG %s at %s:%d%s%s\n    again: test-engines-world --seed %lu %u\n",
		    (unsigned long)s->seed, s->op, s->what, bug->expr, bug->file, bug->line, bug->detail ? ": " : "",
		    bug->detail ? bug->detail : "", (unsigned long)s->seed, s->operations);
}

/* ---- addresses */

static inline u64 addr_of(u32 at)
{
	u64 huge = HPAGE_PMD_NR;

	return pages((4 + at / the_script->slot_pages * (SLOT_HUGE + 1)) * huge + at % the_script->slot_pages);
}

/* A part of one slot; often aligned to huge pages. */
static inline void pick_range(u32 *ret_at, u32 *ret_n)
{
	u32 size = the_script->slot_pages, huge = (u32)HPAGE_PMD_NR, first, n;

	switch (pick(4)) {
	case 0:
		first = (u32)pick(SLOT_HUGE) * huge;
		n = ((u32)pick(SLOT_HUGE - first / huge) + 1) * huge;
		break;
	case 1:
		first = 0;
		n = size;
		break;
	case 2:
		first = (u32)pick(size);
		n = 1;
		break;
	default:
		first = (u32)pick(size);
		n = (u32)pick(size - first) + 1;
		break;
	}
	*ret_at = (u32)pick(SLOTS) * size + first;
	*ret_n = n;
}

static inline struct shadow_page *shadow_at(u32 at)
{
	return &the_script->pages[at];
}

/* What a load of the page must give. */
static inline u64 expected_word(const struct shadow_page *p)
{
	if (p->own)
		return p->word;
	return the_script->object[p->object].word[p->index];
}

static inline bool beyond_end(const struct shadow_page *p)
{
	return p->object != NO_OBJECT && !p->own && p->index >= the_script->object[p->object].size;
}

/* ---- holds */

/* The address is not where the held page is any more. */
static inline void forget_place(int space, u32 at)
{
	unsigned int i;

	for (i = 0; i < the_script->nr_held; i++)
		if (the_script->held[i].space == space && the_script->held[i].at == at)
			the_script->held[i].there = false;
}

static inline void make_hole(int space, u32 at)
{
	memset(&the_script->space[space].page[at], 0, sizeof(struct shadow_page));
	forget_place(space, at);
}

static inline void drop_held(unsigned int i)
{
	struct held *h = &the_script->held[i];

	drop(h->page, h->flags);
	*h = the_script->held[--the_script->nr_held];
}

/* ---- operations */

static inline int new_object(const char *path)
{
	int i;

	for (i = 0; i < MAX_OBJECTS; i++) {
		struct shadow_object *o = &the_script->object[i];

		if (o->used && path && o->path == path)
			return i;
	}
	for (i = 0; i < MAX_OBJECTS; i++) {
		struct shadow_object *o = &the_script->object[i];

		if (o->used)
			continue;
		o->used = true;
		o->path = path;
		o->size = 0;
		o->word = (u64 *)calloc(the_script->slot_pages * 2, sizeof(u64));
		assert_non_null(o->word);
		return i;
	}
	return NO_OBJECT;
}

/* Shared memory that no page shows any more. */
static inline void reap_objects(void)
{
	struct random_script *s = the_script;
	bool seen[MAX_OBJECTS] = { false };
	u32 at;
	int i;

	for (i = 0; i < MAX_SPACES; i++)
		for (at = 0; s->space[i].used && at < s->nr_pages; at++)
			if (s->space[i].page[at].mapped && s->space[i].page[at].object != NO_OBJECT)
				seen[s->space[i].page[at].object] = true;
	for (i = 0; i < MAX_OBJECTS; i++) {
		if (s->object[i].used && !s->object[i].path && !seen[i]) {
			free(s->object[i].word);
			memset(&s->object[i], 0, sizeof(s->object[i]));
		}
	}
}

/* A huge page of tmpfs may be mapped whole though the file ends within it: there is no SIGBUS then. Files end between them. */
static inline u32 file_size(const char *path, u32 size)
{
	u32 huge = (u32)HPAGE_PMD_NR;

	return strncmp(path, "/t/", 3) ? size : (size + huge - 1) / huge * huge;
}

static inline void op_mmap(void)
{
	static const char *const paths[] = { "/d/f", "/t/g", "/t/huge" };
	unsigned int prot = chance(80) ? RW : RO, flags = MM_MAP_FIXED;
	const char *path = NULL;
	struct inode *inode = NULL;
	int object = NO_OBJECT;
	u32 at, n, i, first = 0, size;
	bool shared = false;
	int ret;

	pick_range(&at, &n);
	size = n;
	if (chance(40)) {
		if (chance(60))
			path = paths[pick(ARRAY_SIZE(paths))];
		shared = !path || chance(60);
		reap_objects();
		object = new_object(path);
		if (object == NO_OBJECT)
			return;
		first = path ? (u32)pick(2) * (chance(50) ? (u32)HPAGE_PMD_NR : 1) : 0;
	}
	if (shared)
		flags |= MM_MAP_SHARED;
	if (chance(15) && !the_script->tight)
		flags |= MM_MAP_POPULATE;
	doing("mmap [%u,+%u) %s %s%s%s", at, n, path ? path : "anon", shared ? "shared" : "private",
	      prot == RW ? "" : " ro", flags & MM_MAP_POPULATE ? " populate" : "");
	if (path) {
		inode = open_file(path);
		size = file_size(path, first + n);
		file_extend(inode, pages(size));
	}
	ret = do_mmap(current->mm, addr_of(at), pages(n), prot, flags, inode, first);
	if (inode)
		iput(inode);
	if (object != NO_OBJECT && the_script->object[object].size < size)
		the_script->object[object].size = size;
	if (ret) {
		script_fails("mmap returned %d", ret);
		return;
	}
	for (i = 0; i < n; i++) {
		struct shadow_page *p = shadow_at(at + i);

		make_hole(the_script->me->space, at + i);
		p->mapped = p->readable = true;
		p->writable = prot == RW;
		p->object = (s16)object;
		p->own = object == NO_OBJECT;
		p->shared = shared;
		p->index = first + i;
	}
}

static inline void op_munmap(void)
{
	u32 at, n, i;
	int ret;

	pick_range(&at, &n);
	doing("munmap [%u,+%u)", at, n);
	ret = do_munmap(current->mm, addr_of(at), pages(n));
	if (ret)
		script_fails("munmap returned %d", ret);
	for (i = 0; i < n; i++)
		make_hole(the_script->me->space, at + i);
}

static inline void op_mprotect(void)
{
	static const unsigned int prots[] = { MM_PROT_NONE, RO, RW, RW, RO };
	unsigned int prot = prots[pick(ARRAY_SIZE(prots))];
	u32 at, n, i;
	int ret;

	pick_range(&at, &n);
	doing("mprotect [%u,+%u) %u", at, n, prot);
	ret = do_mprotect(current->mm, addr_of(at), pages(n), prot);
	for (i = 0; i < n && shadow_at(at + i)->mapped; i++) {
		shadow_at(at + i)->readable = prot != MM_PROT_NONE;
		shadow_at(at + i)->writable = prot == RW;
	}
	if (ret != (i < n ? -ENOMEM : 0))
		script_fails("mprotect returned %d", ret);
}

static inline void op_store(void)
{
	u32 at, n, step, i;

	pick_range(&at, &n);
	step = chance(50) ? 1 : (u32)pick(4) + 1;
	doing("store [%u,+%u) step %u", at, n, step);
	for (i = 0; i < n; i += step) {
		struct shadow_page *p = shadow_at(at + i);
		u64 word = ++the_script->next_word;
		int expect = !p->mapped || !p->writable ? -EFAULT : (beyond_end(p) ? -ENXIO : 0);
		int ret = try_store(addr_of(at + i), word);

		if (ret == -ENOMEM && the_script->tight)
			return;
		if (ret != expect) {
			script_fails("store to %u returned %d, not %d", at + i, ret, expect);
			return;
		}
		if (ret)
			continue;
		if (p->shared) {
			the_script->object[p->object].word[p->index] = word;
		} else {
			p->own = true;
			p->word = word;
		}
	}
}

static inline void op_load(void)
{
	u32 at, n, i;

	pick_range(&at, &n);
	doing("load [%u,+%u)", at, n);
	for (i = 0; i < n; i++) {
		struct shadow_page *p = shadow_at(at + i);
		int expect = !p->mapped || !p->readable ? -EFAULT : (beyond_end(p) ? -ENXIO : 0);
		u64 word = 0;
		int ret = try_load(addr_of(at + i), &word);

		if (ret == -ENOMEM && the_script->tight)
			return;
		if (ret != expect) {
			script_fails("load of %u returned %d, not %d", at + i, ret, expect);
			return;
		}
		if (!ret && word != expected_word(p)) {
			script_fails("page %u holds %#lx, not %#lx", at + i, (unsigned long)word,
				     (unsigned long)expected_word(p));
			return;
		}
	}
}

static inline void op_mremap(void)
{
	int space = the_script->me->space;
	u32 at, n, to, i;
	bool source;
	int ret;

	pick_range(&at, &n);
	if (chance(40) && n > 1)
		n = 1 + (u32)pick(n);
	to = (u32)pick(SLOTS) * the_script->slot_pages + (u32)pick(the_script->slot_pages - n + 1);
	if (chance(50))
		to -= to % the_script->slot_pages % (u32)HPAGE_PMD_NR;
	if (to < at + n && at < to + n)
		return;
	source = shadow_at(at)->mapped;
	doing("mremap [%u,+%u) to %u", at, n, to);
	ret = do_mremap(current->mm, addr_of(at), pages(n), addr_of(to));
	if (ret != 0 && ret != -EFAULT) {
		if (!the_script->tight)
			script_fails("mremap returned %d", ret);
		return;
	}
	if (ret == -EFAULT && !source)
		return; /* nothing was touched */
	if (!ret && !source) {
		script_fails("mremap of a hole succeeded");
		return;
	}
	for (i = 0; i < n; i++) {
		make_hole(space, to + i);
		if (ret)
			continue;
		*shadow_at(to + i) = *shadow_at(at + i);
		make_hole(space, at + i);
	}
}

static inline int next_space(void)
{
	int i;

	for (i = 0; i < MAX_SPACES; i++)
		if (!the_script->space[i].used)
			return i;
	return -1;
}

static inline void add_task(struct task_struct *task, int space)
{
	the_script->task[the_script->nr_tasks].task = task;
	the_script->task[the_script->nr_tasks++].space = space;
}

static inline void op_fork(void)
{
	struct random_script *s = the_script;
	int space = next_space();
	struct task_struct *task;
	u32 at;

	if (space < 0 || s->nr_tasks == MAX_TASKS)
		return;
	doing("fork to space %d", space);
	task = try_fork_task(space == 0 ? "A" : (space == 1 ? "B" : "C"));
	if (!task) {
		if (!s->tight)
			script_fails("fork failed");
		return;
	}
	s->space[space].used = true;
	for (at = 0; at < s->nr_pages; at++) {
		struct shadow_page *p = &s->space[space].page[at];

		*p = *shadow_at(at);
		if (p->dontfork)
			memset(p, 0, sizeof(*p));
		p->locked = false;
	}
	add_task(task, space);
}

static inline void op_thread(void)
{
	struct random_script *s = the_script;

	if (s->nr_tasks == MAX_TASKS)
		return;
	doing("thread");
	add_task(thread("thread", (int)pick(scene->machine->nr_cpus)), s->me->space);
}

static inline void op_exit(void)
{
	struct random_script *s = the_script;
	int space = s->me->space;
	unsigned int i, users = 0;

	for (i = 0; i < s->nr_tasks; i++)
		users += s->task[i].space == space;
	if (s->nr_tasks == 1)
		return;
	doing("exit from space %d (%u users)", space, users);
	for (i = s->nr_held; users == 1 && i-- > 0;)
		if (s->held[i].space == space && chance(50))
			drop_held(i);
		else if (s->held[i].space == space)
			s->held[i].there = false; /* held on: the page outlives its owner */
	exit_task(s->me->task);
	if (users == 1)
		s->space[space].used = false;
	*s->me = s->task[--s->nr_tasks];
	s->me = NULL;
}

static inline void op_madvise(void)
{
	static const struct {
		enum ps_madvice advice;
		const char *name;
	} table[] = {
		{ PS_MADV_DONTNEED, "dontneed" }, { PS_MADV_DONTNEED, "dontneed" },
		{ PS_MADV_HUGEPAGE, "hugepage" }, { PS_MADV_HUGEPAGE, "hugepage" },
		{ PS_MADV_HUGEPAGE, "hugepage" }, { PS_MADV_NOHUGEPAGE, "nohugepage" },
		{ PS_MADV_REMOVE, "remove" },     { PS_MADV_POPULATE_READ, "populate_read" },
		{ PS_MADV_DONTFORK, "dontfork" }, { PS_MADV_DOFORK, "dofork" },
		{ PS_MADV_COLD, "cold" },         { PS_MADV_FREE, "free" },
		{ PS_MADV_WILLNEED, "willneed" }, { PS_MADV_POPULATE_WRITE, "populate_write" },
	};
	unsigned int which = (unsigned int)pick(ARRAY_SIZE(table));
	enum ps_madvice advice = table[which].advice;
	u32 at, n, i;
	bool lost = false;
	int ret;

	pick_range(&at, &n);
	doing("madvise [%u,+%u) %s", at, n, table[which].name);
	ret = do_madvise(current->mm, addr_of(at), pages(n), advice);
	for (i = 0; i < n; i++) {
		struct shadow_page *p = shadow_at(at + i);

		if (!p->mapped)
			continue;
		switch (advice) {
		case PS_MADV_DONTFORK:
			p->dontfork = true;
			break;
		case PS_MADV_DOFORK:
			p->dontfork = false;
			break;
		case PS_MADV_DONTNEED:
			if (p->locked) {
				lost = true;
				break;
			}
			if (!p->shared) {
				p->own = p->object == NO_OBJECT;
				p->word = 0;
			}
			forget_place(the_script->me->space, at + i);
			break;
		case PS_MADV_REMOVE:
			/* Needs shared memory, unlocked; stops at the first page that is not. */
			if (p->locked || p->object == NO_OBJECT || !p->shared) {
				lost = true;
				break;
			}
			the_script->object[p->object].word[p->index] = 0;
			forget_place(the_script->me->space, at + i);
			break;
		default:
			break;
		}
		if (lost)
			break;
	}
	if (lost && ret != -EINVAL && ret != -EACCES)
		script_fails("madvise returned %d", ret);
	if (advice == PS_MADV_REMOVE)
		for (i = 0; i < the_script->nr_held; i++)
			the_script->held[i].there = false;
}

static inline void op_mlock(void)
{
	bool lock = chance(60);
	u32 at, n, i;

	if (the_script->tight && lock)
		return;
	pick_range(&at, &n);
	doing("%s [%u,+%u)", lock ? "mlock" : "munlock", at, n);
	if (lock)
		do_mlock(current->mm, addr_of(at), pages(n));
	else
		do_munlock(current->mm, addr_of(at), pages(n));
	for (i = 0; i < n && shadow_at(at + i)->mapped; i++)
		shadow_at(at + i)->locked = lock;
}

static inline nid_t pick_node(void)
{
	return (nid_t)pick(scene->machine->nr_nodes);
}

static inline void op_move_pages(void)
{
	u32 at, n, i;
	nid_t nid = pick_node();
	bool mixed = chance(25), all = chance(50);
	struct ps_move *moves;
	long ret;

	pick_range(&at, &n);
	doing("move_pages [%u,+%u) to %d%s%s", at, n, nid, mixed ? " and others" : "", all ? " all" : "");
	moves = (struct ps_move *)calloc(n, sizeof(*moves));
	assert_non_null(moves);
	for (i = 0; i < n; i++)
		moves[i] = (struct ps_move){ .addr = addr_of(at + i),
					     .node = mixed ? pick_node() : nid,
					     .status = PS_STATUS_UNSET };
	ret = ps_move_pages(current->mm, moves, n, false, all);
	if (ret > (long)n || (ret < 0 && ret != -ENOMEM))
		script_fails("move_pages returned %ld", ret);
	for (i = 0; i < n; i++) {
		nid_t is = node_at(addr_of(at + i));

		/* Who was told a node is there now. (Unless it moved on: a huge page named twice.) */
		if (!mixed && moves[i].status >= 0 && is != NUMA_NO_NODE && is != moves[i].status)
			script_fails("page %u is on node %d, its status says %d", at + i, is, moves[i].status);
	}
	free(moves);
}

static inline void op_migrate_pages(void)
{
	nodemask_t from = nodes_of(pick_node(), pick_node()), to = nodes_of(pick_node(), pick_node());

	doing("migrate_pages %#lx to %#lx", from.bits, to.bits);
	ps_migrate_pages(current->mm, &from, &to);
}

static inline void op_mbind(void)
{
	static const enum mempolicy_mode modes[] = { MPOL_DEFAULT, MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE };
	enum mempolicy_mode mode = modes[pick(ARRAY_SIZE(modes))];
	unsigned int flags = (chance(60) ? MPOL_MF_MOVE : 0) | (chance(20) ? MPOL_MF_MOVE_ALL : 0) |
			     (chance(30) ? MPOL_MF_STRICT : 0);
	nodemask_t nodes = nodes_of(pick_node(), chance(50) ? pick_node() : NUMA_NO_NODE);
	u32 at, n;

	if (mode == MPOL_DEFAULT)
		nodes_clear(nodes);
	pick_range(&at, &n);
	doing("mbind [%u,+%u) mode %d nodes %#lx flags %u", at, n, mode, nodes.bits, flags);
	/* In a tight machine a bound node may be full for ever: only ask for what can be had. */
	if (the_script->tight && mode == MPOL_BIND)
		return;
	ps_mbind(current->mm, addr_of(at), pages(n), mode, &nodes, flags);
}

static inline void op_mempolicy(void)
{
	enum mempolicy_mode mode = (enum mempolicy_mode)pick(4);
	nodemask_t nodes = nodes_of(pick_node(), chance(50) ? pick_node() : NUMA_NO_NODE);

	if (mode == MPOL_DEFAULT)
		nodes_clear(nodes);
	if (the_script->tight && mode == MPOL_BIND)
		return;
	doing("mempolicy %d nodes %#lx", mode, nodes.bits);
	set_mempolicy(mode, &nodes);
}

static inline void op_split(void)
{
	u32 at, n, order = pick(2) ? pick(scene->machine->pt_bits) : 0;

	pick_range(&at, &n);
	doing("split [%u,+%u) to %u", at, n, order);
	split_huge_pages_range(current->mm, addr_of(at), addr_of(at) + pages(n), order);
}

static inline void op_hold(void)
{
	struct random_script *s = the_script;
	static const unsigned int kinds[] = { FOLL_GET, FOLL_GET, FOLL_PIN, FOLL_PIN | FOLL_WRITE,
					      FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM };
	struct held *h = &s->held[s->nr_held];
	u32 at, n;
	long got;

	if (s->nr_held == MAX_HELD)
		return;
	pick_range(&at, &n);
	h->flags = kinds[pick(ARRAY_SIZE(kinds))];
	doing("%s page %u%s", h->flags & FOLL_PIN ? "pin" : "get", at, h->flags & FOLL_WRITE ? " for writing" : "");
	got = get_user_pages(current->mm, addr_of(at), 1, h->flags, &h->page);
	if (got != 1) {
		if (got != -EFAULT && !(got == -ENOMEM && s->tight))
			script_fails("got %ld pages", got);
		return;
	}
	if (is_zero_page(h->page) || compound_head(h->page) == scene->machine->faults->huge_zero_page) {
		put_user_page(h->page, h->flags, false);
		return;
	}
	hold(h->page, (h->flags & FOLL_PIN) && !PageCompound(h->page) ? GUP_PIN_COUNTING_BIAS : 1);
	h->space = s->me->space;
	h->at = at;
	h->there = (h->flags & FOLL_PIN) && !shadow_at(at)->shared && PageAnon(h->page);
	s->nr_held++;
}

static inline void op_unhold(void)
{
	struct random_script *s = the_script;

	if (!s->nr_held)
		return;
	doing("put");
	drop_held((unsigned int)pick(s->nr_held));
}

static inline void op_file(void)
{
	static const char *const paths[] = { "/d/f", "/t/g", "/t/huge" };
	const char *path = paths[pick(ARRAY_SIZE(paths))];
	struct random_script *s = the_script;
	struct inode *inode = open_file(path);
	int object = new_object(path), i;
	struct shadow_object *o = &s->object[object];
	struct ps_page_source source;
	u32 index, at;
	u64 word = 0;

	if (object == NO_OBJECT)
		goto out;
	ps_policy_page_source(&source);
	switch (pick(6)) {
	case 0:
		doing("fsync %s", path);
		file_fsync(inode);
		break;
	case 1:
		doing("drop caches");
		ps_files_drop_pagecache(scene->machine->files);
		break;
	case 2:
		doing("ask the shrinkers");
		drop_slab();
		break;
	case 3:
		if (!o->size)
			break;
		index = (u32)pick(o->size);
		doing("write %s[%u]", path, index);
		word = ++s->next_word;
		i = file_write_page(inode, index, word, &source);
		if (!i)
			o->word[index] = word;
		else if (!s->tight)
			script_fails("write returned %d", i);
		break;
	case 4:
		if (!o->size)
			break;
		index = (u32)pick(o->size);
		doing("read %s[%u]", path, index);
		i = file_read_page(inode, index, &word, &source);
		if (i == 1 ? word != o->word[index] : !s->tight)
			script_fails("read returned %d and %#lx, not %#lx", i, (unsigned long)word,
				     (unsigned long)o->word[index]);
		break;
	default:
		if (!o->size || chance(50))
			break;
		index = file_size(path, (u32)pick(o->size) + 1);
		doing("truncate %s to %u", path, index);
		file_truncate(inode, pages(index));
		for (at = index; at < o->size; at++)
			o->word[at] = 0;
		o->size = index;
		/* Private copies beyond the end go too. */
		for (i = 0; i < MAX_SPACES; i++) {
			for (at = 0; s->space[i].used && at < s->nr_pages; at++) {
				struct shadow_page *p = &s->space[i].page[at];

				if (p->mapped && p->object == object && p->index >= index) {
					p->own = false;
					forget_place(i, at);
				}
			}
		}
		break;
	}
out:
	iput(inode);
}

/* A NUMA scan's hints on a range; the next access of each page asks the policy. */
static inline void op_hint(void)
{
	struct vm_area_struct *vma;
	u32 at, n;

	pick_range(&at, &n);
	doing("NUMA hints on [%u,+%u)", at, n);
	mmap_read_lock(current->mm);
	for_each_vma_range(current->mm, vma, addr_of(at), addr_of(at) + pages(n)) {
		if (vma->vm_flags & VM_ACCESS_FLAGS)
			change_protection(vma, ps_max(addr_of(at), vma->vm_start),
					  ps_min(addr_of(at) + pages(n), vma->vm_end), MM_CP_PROT_NUMA);
	}
	mmap_read_unlock(current->mm);
}

static inline nid_t random_misplaced(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid)
{
	(void)page, (void)vma, (void)addr;
	return numa_node_id() == page_nid || chance(20) ? NUMA_NO_NODE : numa_node_id();
}

static inline void op_misc(void)
{
	switch (pick(4)) {
	case 0:
		doing("clear_refs");
		clear_soft_dirty(current->mm);
		break;
	case 1:
		current->cpu = (int)pick(scene->machine->nr_cpus);
		doing("cpu %d", current->cpu);
		break;
	case 2:
		doing("thp_enabled");
		scene->machine->faults->thp_enabled = (enum thp_mode)pick(3);
		break;
	default:
		doing("use_zero_page");
		scene->machine->faults->no_zero_page = chance(30);
		break;
	}
}

static const struct {
	void (*run)(void);
	unsigned int weight;
} random_ops[] = {
	{ op_store, 26 }, { op_load, 12 },       { op_mmap, 14 },         { op_munmap, 5 }, { op_mprotect, 8 },
	{ op_mremap, 6 }, { op_fork, 6 },        { op_thread, 2 },        { op_exit, 4 },   { op_madvise, 14 },
	{ op_mlock, 5 },  { op_move_pages, 12 }, { op_migrate_pages, 4 }, { op_mbind, 6 },  { op_mempolicy, 3 },
	{ op_split, 5 },  { op_hold, 6 },        { op_unhold, 6 },        { op_file, 6 },   { op_hint, 4 },
	{ op_misc, 3 },
};

/* ---- after each operation */

/*
 * What the tables map must be what the shadow says, without faulting anything in. A private file page becomes its own also
 * without a store (populate, mlock, a pin): from then on it keeps what the file had.
 */
static inline void peek_space(int space, struct mm_struct *mm)
{
	struct random_script *s = the_script;
	u32 at;

	for (at = 0; at < s->nr_pages && !s->failed; at++) {
		struct shadow_page *p = &s->space[space].page[at];
		u64 addr = addr_of(at);
		pmd_t *pmd = pmd_find(&mm->pt, addr);
		struct page *page = NULL;
		pte_t pte;

		if (!pmd || pmd_none(*pmd))
			continue;
		if (pmd_trans_huge(*pmd)) {
			if (!is_huge_zero_pmd(*pmd))
				page = pfn_to_page(pmd_pfn(*pmd) + ((addr >> PAGE_SHIFT) & (HPAGE_PMD_NR - 1)));
		} else {
			pte = *pte_offset_map(&mm->pt, *pmd, addr);
			if (pte_none(pte))
				continue;
			if (!is_zero_pte(pte))
				page = pfn_to_page(pte_pfn(pte));
		}
		if (!p->mapped) {
			script_fails("page %u of space %d should be a hole", at, space);
			return;
		}
		if (!p->own && !p->shared && !beyond_end(p) && page && PageAnon(page)) {
			p->own = true;
			p->word = s->object[p->object].word[p->index];
		}
		if (beyond_end(p)) {
			script_fails("page %u of space %d is beyond the end of its file", at, space);
			return;
		}
		if ((page ? page_word_read(page) : 0) != (p->own ? p->word : s->object[p->object].word[p->index]))
			script_fails("page %u of space %d (%s%s [%u]) holds %#lx, not %#lx", at, space,
				     p->own ? "own word" : "object", p->shared ? ", shared" : "", p->index,
				     (unsigned long)(page ? page_word_read(page) : 0),
				     (unsigned long)(p->own ? p->word : s->object[p->object].word[p->index]));
	}
}

static inline void verify(void)
{
	struct random_script *s = the_script;
	struct ps_check_report report;
	unsigned int i, k;

	as(scene->boot);
	lru_add_drain_all();
	if (scene_report(scene, false, &report) != 0) {
		script_fails("%u invariants broken", report.nr);
		scene_print_report(&report);
	}
	for (i = 0; i < s->nr_tasks; i++) {
		for (k = 0; k < i && s->task[k].space != s->task[i].space;)
			k++;
		if (k == i)
			peek_space(s->task[i].space, s->task[i].task->mm);
	}
	for (i = 0; i < s->nr_held; i++) {
		struct held *h = &s->held[i];

		if (!h->there || s->failed)
			continue;
		for (k = 0; s->task[k].space != h->space; k++)
			;
		as(s->task[k].task);
		if (page_at(addr_of(h->at)) != h->page)
			script_fails("page %u of space %d is pinned and was replaced", h->at, h->space);
	}
}

static inline void run_operation(void)
{
	struct random_script *s = the_script;
	unsigned int total = 0, i;
	u64 ticket;

	s->me = &s->task[pick(s->nr_tasks)];
	s->pages = s->space[s->me->space].page;
	as(s->me->task);
	for (i = 0; i < ARRAY_SIZE(random_ops); i++)
		total += random_ops[i].weight;
	ticket = pick(total);
	for (i = 0; ticket >= random_ops[i].weight; i++)
		ticket -= random_ops[i].weight;
	random_ops[i].run();
}

/* ---- one script */

/* Machines with huge pages of few pages, so that few operations meet deep shapes. */
static inline int random_machine(u64 seed, bool *ret_tight)
{
	static const struct {
		const char *machine;
		unsigned int pt_bits;
		u64 bytes; /* of each node */
	} table[] = {
		{ "linux-6.1", 3, 4 << 20 }, { "two-node", 2, 2 << 20 },    { "four-socket", 4, 4 << 20 },
		{ "dram-cxl", 3, 4 << 20 },  { "linux-6.1", 3, 320 << 10 },
	};
	unsigned int which = (unsigned int)(seed % ARRAY_SIZE(table));
	const struct scene_settings settings = { .machine = table[which].machine,
						 .pt_bits = table[which].pt_bits,
						 .node_bytes = table[which].bytes,
						 .min_free_kbytes = 32,
						 .contents = seed % 7 == 3 ? PS_CONTENTS_BYTES : PS_CONTENTS_TAG,
						 .generation = seed / 5 % 2 ? "6.3-batch" : "6.1" };

	*ret_tight = table[which].bytes < 1 << 20;
	return scene_world_open(&settings);
}

/** Runs one script. Return: whether all went well. */
static inline bool run_random_script(u64 seed, unsigned int operations, bool verbose)
{
	struct random_script *s = (struct random_script *)calloc(1, sizeof(*s));
	struct ps_bug_handler old = ps_bug_set_handler((struct ps_bug_handler){ script_bug, s });
	bool ok;
	int i;

	assert_non_null(s);
	the_script = s;
	s->seed = seed;
	s->verbose = verbose;
	s->operations = operations;
	ps_rng_init(&s->rng, seed);
	assert_int_equal(random_machine(seed, &s->tight), 0);
	scene->machine->files->tmpfs_huge = (enum shmem_huge)pick(4);
	scene->machine->files->shmem_enabled = (enum shmem_huge)pick(4);
	scene->machine->faults->thp_enabled = chance(50) ? THP_ALWAYS : THP_MADVISE;
	scene->machine->faults->numa.misplaced = random_misplaced;
	scene->machine->faults->numa.migrate = migrate_misplaced_page;
	scene->machine->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	s->slot_pages = SLOT_HUGE * (u32)HPAGE_PMD_NR;
	s->nr_pages = SLOTS * s->slot_pages;
	for (i = 0; i < MAX_SPACES; i++) {
		s->space[i].page = (struct shadow_page *)calloc(s->nr_pages, sizeof(struct shadow_page));
		assert_non_null(s->space[i].page);
	}
	s->space[0].used = true;
	add_task(start("A", 0), 0);
	snprintf(s->what, sizeof(s->what), "start");
	for (s->op = 0; s->op < operations && !s->failed; s->op++) {
		run_operation();
		if (!s->failed)
			verify();
	}
	while (s->nr_held)
		drop_held(s->nr_held - 1);
	ok = !s->failed;
	if (ok)
		scene_close();
	else
		scene_free(scene);
	for (i = 0; i < MAX_SPACES; i++)
		free(s->space[i].page);
	for (i = 0; i < MAX_OBJECTS; i++)
		free(s->object[i].word);
	ps_bug_set_handler(old);
	free(s);
	return ok;
}

#endif
