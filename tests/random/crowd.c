/* SPDX-License-Identifier: MIT */
/*
 * Random programs at the same time: two processes of several threads, and the children they fork, run on fibers of their own
 * while the shuffler lets another one go first at random schedule points. Every thread has memory that only it writes, maps
 * and unmaps, and knows which word each page of it must hold; everybody moves, splits, locks, protects against NUMA hints,
 * gets, pins and write-backs what belongs to everybody. At the end nothing is broken and nothing is left.
 *
 *      one address space:  [slot of thread 0][slot of thread 1][slot of thread 2]  [/t/g shared][/d/f shared]
 *                           3 huge pages each                                       page i is written by thread i modulo all
 *
 *      random-crowd                      60 crowds
 *      random-crowd --slow               2,000 crowds
 *      random-crowd --seed N             one, telling what each does
 *      random-crowd --hunt FIRST LAST
 *
 * A crowd follows from its seed: a failure prints it.
 */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/check.h>
#include <pagesim/fault.h>
#include <pagesim/gup.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine_file.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/mprotect.h>
#include <pagesim/page_alloc.h>
#include <pagesim/rng.h>
#include <pagesim/shmem.h>
#include <pagesim/split.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#define PROCESSES    2
#define MAX_THREADS  3
#define MEMBERS      (PROCESSES * MAX_THREADS)
#define MAX_ALIVE    3
#define MAX_CHILDREN 40
#define SLOT_HUGE    3
#define FILES        2
#define FILE_PAGES   24
#define HELD         6
#define RW           (MM_PROT_READ | MM_PROT_WRITE)

static const char *const paths[FILES] = { "/t/g", "/d/f" };

/* A page of a thread's own slot. */
struct own_page {
	bool mapped, readable, writable;
	bool unsure; /* half given up: holds its word, or nothing */
	u64 word;
};

struct member {
	struct crowd *crowd;
	struct task_struct *task;
	struct ps_rng rng;
	unsigned int id, slot, process;
	struct own_page *page;
	u64 next_word;
	struct {
		struct page *page;
		unsigned int flags;
	} held[HELD];
	unsigned int nr_held;
	unsigned int op;
};

struct child {
	struct crowd *crowd;
	struct task_struct *task;
	struct own_page *page; /* of the parent's slot, as it was at the fork */
	unsigned int slot;
	u64 seed;
	bool done;
};

struct crowd {
	u64 seed;
	bool verbose, failed;
	struct ps_world *world;
	struct mm_struct *mm[PROCESSES];
	struct member member[MEMBERS];
	unsigned int nr_members, nr_children, operations;
	struct child child[MAX_CHILDREN];
	u64 huge, slot_pages;
	u64 file_word[FILES][FILE_PAGES];
};

static u64 first_crowd = 1, last_crowd = 60;

static u64 pick(struct member *m, u64 bound)
{
	return ps_rng_below(&m->rng, bound);
}

static bool chance(struct member *m, unsigned int percent)
{
	return pick(m, 100) < percent;
}

__attribute__((format(printf, 2, 3))) static void crowd_fails(struct crowd *c, const char *format, ...)
{
	va_list args;

	if (c->failed)
		return;
	c->failed = true;
	print_error("crowd %lu: ", (unsigned long)c->seed);
	va_start(args, format);
	vprint_error(format, args);
	va_end(args);
	print_error("\n    again: random-crowd --seed %lu\n", (unsigned long)c->seed);
}

__attribute__((format(printf, 2, 3))) static void doing(struct member *m, const char *format, ...)
{
	va_list args;

	if (!m->crowd->verbose)
		return;
	print_message("%2u.%-3u ", m->id, m->op);
	va_start(args, format);
	vprint_message(format, args);
	va_end(args);
	print_message("\n");
}

static void hear_bug(void *arg, const struct ps_bug *bug)
{
	crowd_fails((struct crowd *)arg, "%s %s at %s:%d%s%s", bug->kind == PS_BUG ? "BUG" : "warning", bug->expr,
		    bug->file, bug->line, bug->detail ? ": " : "", bug->detail ? bug->detail : "");
}

/*
 * A CPU looks its translation up and touches the memory in one go: who wants to take the translation away waits for it. So
 * there is no schedule point between ps_mmu_access() and this.
 */
static u64 *word_at(const struct ps_access *access)
{
	struct page *page = pfn_to_page(access->pfn);

	return ps_contents_mode() == PS_CONTENTS_BYTES ? (u64 *)page_address(page) : &page->contents;
}

/* ---- places */

static u64 slot_addr(const struct crowd *c, unsigned int slot)
{
	return (4 + (u64)slot * (SLOT_HUGE + 1)) * c->huge << PAGE_SHIFT;
}

static u64 file_addr(const struct crowd *c, unsigned int file)
{
	return slot_addr(c, MAX_THREADS + file);
}

/* Part of a slot or of a file's mapping, whoever it belongs to. */
static u64 any_range(struct member *m, u64 *ret_n)
{
	const struct crowd *c = m->crowd;
	unsigned int slot = (unsigned int)pick(m, MAX_THREADS + FILES);
	u64 size = slot < MAX_THREADS ? c->slot_pages : ps_min((u64)FILE_PAGES, c->slot_pages), first = 0, n = size;

	switch (pick(m, 4)) {
	case 0:
		first = pick(m, size / c->huge + 1) * c->huge;
		first = first < size ? first : 0;
		n = ps_min(c->huge, size - first);
		break;
	case 1:
		first = pick(m, size);
		n = 1;
		break;
	case 2:
		first = pick(m, size);
		n = pick(m, size - first) + 1;
		break;
	default:
		break;
	}
	*ret_n = n;
	return slot_addr(c, slot) + (first << PAGE_SHIFT);
}

static u64 own_range(struct member *m, u64 *ret_first, u64 *ret_n)
{
	const struct crowd *c = m->crowd;

	if (chance(m, 40)) {
		*ret_first = pick(m, SLOT_HUGE) * c->huge;
		*ret_n = c->huge;
	} else {
		*ret_first = pick(m, c->slot_pages);
		*ret_n = pick(m, c->slot_pages - *ret_first) + 1;
	}
	return slot_addr(c, m->slot) + (*ret_first << PAGE_SHIFT);
}

static nid_t any_node(struct member *m)
{
	return (nid_t)pick(m, m->crowd->world->machine->nr_nodes);
}

static struct mm_struct *any_mm(struct member *m)
{
	return m->crowd->mm[pick(m, PROCESSES)];
}

/* ---- what only the owner does */

static void store_word(struct member *m, u64 i)
{
	struct own_page *p = &m->page[i];
	struct ps_access access;
	u64 word = (u64)m->id << 48 | ++m->next_word;
	int expected = p->mapped && p->writable ? 0 : -EFAULT;
	int error = ps_mmu_access(slot_addr(m->crowd, m->slot) + (i << PAGE_SHIFT), true, &access);

	if (error == -ENOMEM)
		return;
	if (error != expected) {
		crowd_fails(m->crowd, "member %u, operation %u: store to page %lu returns %d, not %d", m->id, m->op,
			    (unsigned long)i, error, expected);
		return;
	}
	if (error)
		return;
	*word_at(&access) = word;
	p->word = word;
	p->unsure = false;
}

/* Return: false if it does not hold what it must. */
static bool load_word(u64 addr, const struct own_page *p, u64 *ret_is, int *ret_error)
{
	struct ps_access access;
	int expected = p->mapped && p->readable ? 0 : -EFAULT;

	*ret_is = 0;
	*ret_error = ps_mmu_access(addr, false, &access);
	if (*ret_error == -ENOMEM)
		return true;
	if (*ret_error || expected)
		return *ret_error == expected;
	*ret_is = *word_at(&access);
	return *ret_is == p->word || (p->unsure && !*ret_is);
}

static void check_word(struct member *m, u64 i)
{
	u64 is;
	int error;

	if (!load_word(slot_addr(m->crowd, m->slot) + (i << PAGE_SHIFT), &m->page[i], &is, &error))
		crowd_fails(m->crowd, "member %u, operation %u: load of page %lu returns %d and %#lx, not %#lx", m->id,
			    m->op, (unsigned long)i, error, (unsigned long)is, (unsigned long)m->page[i].word);
}

static void op_store(struct member *m)
{
	u64 first, n, i;

	own_range(m, &first, &n);
	doing(m, "store %lu +%lu", (unsigned long)first, (unsigned long)n);
	for (i = 0; i < n; i++)
		store_word(m, first + i);
}

static void op_load(struct member *m)
{
	u64 first, n, i;

	own_range(m, &first, &n);
	doing(m, "load %lu +%lu", (unsigned long)first, (unsigned long)n);
	for (i = 0; i < n; i++)
		check_word(m, first + i);
}

static void op_mmap(struct member *m)
{
	unsigned int prot = chance(m, 85) ? RW : MM_PROT_READ;
	u64 first, n, i, addr = own_range(m, &first, &n);
	int error;

	doing(m, "mmap %lu +%lu", (unsigned long)first, (unsigned long)n);
	error = do_mmap(current->mm, addr, n << PAGE_SHIFT, prot, MM_MAP_FIXED | (chance(m, 10) ? MM_MAP_POPULATE : 0),
			NULL, 0);
	if (error) {
		crowd_fails(m->crowd, "mmap returns %d", error);
		return;
	}
	for (i = 0; i < n; i++)
		m->page[first + i] = (struct own_page){ .mapped = true, .readable = true, .writable = prot == RW };
	if (chance(m, 70))
		do_madvise(current->mm, addr, n << PAGE_SHIFT, PS_MADV_HUGEPAGE);
}

static void op_munmap(struct member *m)
{
	u64 first, n, addr = own_range(m, &first, &n);

	doing(m, "munmap %lu +%lu", (unsigned long)first, (unsigned long)n);
	if (do_munmap(current->mm, addr, n << PAGE_SHIFT))
		crowd_fails(m->crowd, "munmap fails");
	memset(m->page + first, 0, n * sizeof(*m->page));
}

static void op_mprotect(struct member *m)
{
	static const unsigned int prots[] = { MM_PROT_NONE, MM_PROT_READ, RW, RW };
	unsigned int prot = prots[pick(m, 4)];
	u64 first, n, i, addr = own_range(m, &first, &n);
	int error;

	doing(m, "mprotect %lu +%lu", (unsigned long)first, (unsigned long)n);
	error = do_mprotect(current->mm, addr, n << PAGE_SHIFT, prot);
	for (i = 0; i < n && m->page[first + i].mapped; i++) {
		m->page[first + i].readable = prot != MM_PROT_NONE;
		m->page[first + i].writable = prot == RW;
	}
	if (error != (i < n ? -ENOMEM : 0))
		crowd_fails(m->crowd, "mprotect returns %d", error);
}

static void op_mremap(struct member *m)
{
	u64 first, n, to, i, base = slot_addr(m->crowd, m->slot);
	int error;

	own_range(m, &first, &n);
	n = pick(m, n) + 1;
	to = pick(m, m->crowd->slot_pages - n + 1);
	if (to < first + n && first < to + n)
		return;
	doing(m, "mremap %lu +%lu to %lu", (unsigned long)first, (unsigned long)n, (unsigned long)to);
	error = do_mremap(current->mm, base + (first << PAGE_SHIFT), n << PAGE_SHIFT, base + (to << PAGE_SHIFT));
	if (error && error != -EFAULT) {
		crowd_fails(m->crowd, "mremap returns %d", error);
		return;
	}
	if (error && !m->page[first].mapped)
		return; /* nothing was touched */
	for (i = 0; i < n; i++) {
		m->page[to + i] = error ? (struct own_page){ 0 } : m->page[first + i];
		if (!error)
			m->page[first + i] = (struct own_page){ 0 };
	}
}

static void op_discard(struct member *m)
{
	bool dontneed = chance(m, 60);
	u64 first, n, i, addr = own_range(m, &first, &n);
	int error;

	doing(m, "%s %lu +%lu", dontneed ? "dontneed" : "free", (unsigned long)first, (unsigned long)n);
	error = do_madvise(current->mm, addr, n << PAGE_SHIFT, dontneed ? PS_MADV_DONTNEED : PS_MADV_FREE);
	for (i = 0; i < n; i++) {
		struct own_page *p = &m->page[first + i];

		/* Somebody has locked a part: it stays, and so does what lies behind. */
		if (!dontneed || (error && error != -ENOMEM))
			p->unsure = true;
		else
			p->word = 0, p->unsure = false;
	}
}

/* ---- what anybody does to anybody */

static void op_move(struct member *m)
{
	u64 n, i, addr = any_range(m, &n);
	struct ps_move *moves = (struct ps_move *)calloc(n, sizeof(*moves));
	nid_t nid = any_node(m);

	assert_non_null(moves);
	doing(m, "move_pages %lu", (unsigned long)n);
	for (i = 0; i < n; i++)
		moves[i] = (struct ps_move){ .addr = addr + (i << PAGE_SHIFT),
					     .node = chance(m, 5) ? any_node(m) : nid,
					     .status = PS_STATUS_UNSET };
	ps_move_pages(any_mm(m), moves, n, chance(m, 10), chance(m, 60));
	free(moves);
}

static void op_migrate(struct member *m)
{
	nodemask_t from, to;

	nodes_clear(from);
	nodes_clear(to);
	node_set(any_node(m), from);
	node_set(any_node(m), from);
	node_set(any_node(m), to);
	doing(m, "migrate_pages");
	ps_migrate_pages(any_mm(m), &from, &to);
}

static void op_mbind(struct member *m)
{
	static const enum mempolicy_mode modes[] = { MPOL_DEFAULT, MPOL_BIND, MPOL_PREFERRED, MPOL_INTERLEAVE };
	enum mempolicy_mode mode = modes[pick(m, 4)];
	nodemask_t nodes;
	u64 n, addr = any_range(m, &n);

	nodes_clear(nodes);
	if (mode != MPOL_DEFAULT)
		node_set(any_node(m), nodes);
	doing(m, "mbind");
	ps_mbind(current->mm, addr, n << PAGE_SHIFT, mode, &nodes,
		 (chance(m, 70) ? MPOL_MF_MOVE : 0) | (chance(m, 30) ? MPOL_MF_MOVE_ALL : 0));
}

static void op_split(struct member *m)
{
	u64 n, addr = any_range(m, &n);

	doing(m, "split");
	split_huge_pages_range(any_mm(m), addr, addr + (n << PAGE_SHIFT),
			       chance(m, 50) ? (unsigned int)pick(m, this_machine()->pt_bits) : 0);
}

static void op_advise(struct member *m)
{
	static const enum ps_madvice advices[] = { PS_MADV_HUGEPAGE, PS_MADV_NOHUGEPAGE,    PS_MADV_COLD,
						   PS_MADV_WILLNEED, PS_MADV_POPULATE_READ, PS_MADV_HUGEPAGE };
	u64 n, addr = any_range(m, &n);

	doing(m, "madvise");
	do_madvise(current->mm, addr, n << PAGE_SHIFT, advices[pick(m, G_N_ELEMENTS(advices))]);
}

static void op_mlock(struct member *m)
{
	u64 n, addr = any_range(m, &n);

	doing(m, "mlock");
	if (chance(m, 40))
		do_mlock(current->mm, addr, n << PAGE_SHIFT);
	else
		do_munlock(current->mm, addr, n << PAGE_SHIFT);
}

static void drop_one(struct member *m)
{
	m->nr_held--;
	put_user_page(m->held[m->nr_held].page, m->held[m->nr_held].flags, false);
}

static void op_hold(struct member *m)
{
	static const unsigned int kinds[] = { FOLL_GET, FOLL_GET, FOLL_PIN, FOLL_PIN | FOLL_LONGTERM };
	u64 n, addr = any_range(m, &n);
	unsigned int flags = kinds[pick(m, 4)];

	if (m->nr_held && (m->nr_held == HELD || chance(m, 50))) {
		doing(m, "put");
		drop_one(m);
		return;
	}
	doing(m, "%s", flags & FOLL_PIN ? "pin" : "get");
	m->held[m->nr_held].flags = flags;
	if (get_user_pages(current->mm, addr, 1, flags, &m->held[m->nr_held].page) == 1)
		m->nr_held++;
}

static void op_hint(struct member *m)
{
	u64 n, addr = any_range(m, &n);
	struct vm_area_struct *vma;

	doing(m, "NUMA hints");
	mmap_read_lock(current->mm);
	for_each_vma_range(current->mm, vma, addr, addr + (n << PAGE_SHIFT)) {
		if (vma->vm_flags & VM_ACCESS_FLAGS)
			change_protection(vma, ps_max(addr, vma->vm_start),
					  ps_min(addr + (n << PAGE_SHIFT), vma->vm_end), MM_CP_PROT_NUMA);
	}
	mmap_read_unlock(current->mm);
}

static nid_t misplaced(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid)
{
	(void)page, (void)vma;
	return numa_node_id() == page_nid || (addr >> PAGE_SHIFT) % 5 == 0 ? NUMA_NO_NODE : numa_node_id();
}

static void op_kernel(struct member *m)
{
	struct ps_machine *machine = m->crowd->world->machine;

	switch (pick(m, 6)) {
	case 0:
		doing(m, "clear_refs");
		clear_soft_dirty(current->mm);
		break;
	case 1:
		doing(m, "drain");
		lru_add_drain_all();
		break;
	case 2:
		doing(m, "drop caches");
		ps_files_drop_pagecache(machine->files);
		break;
	case 3:
		doing(m, "shrink");
		drop_slab();
		break;
	default:
		current->cpu = (int)pick(m, machine->nr_cpus);
		doing(m, "cpu %d", current->cpu);
		break;
	}
}

/* ---- files: everybody maps them; each page has one writer */

static void op_file(struct member *m)
{
	struct crowd *c = m->crowd;
	unsigned int file = (unsigned int)pick(m, FILES);
	u64 index = pick(m, FILE_PAGES / c->nr_members) * c->nr_members + m->id;
	u64 addr = file_addr(c, file) + (index << PAGE_SHIFT), word = (u64)m->id << 48 | ++m->next_word, is = 0;
	struct ps_page_source source;
	struct ps_access access;
	struct inode *inode;
	int error;

	if (index >= c->slot_pages)
		return;
	ps_policy_page_source(&source);
	assert_int_equal(ps_file_open(c->world->machine->files, paths[file], false, &inode), 0);
	switch (pick(m, 5)) {
	case 0:
		doing(m, "fsync %s", paths[file]);
		file_fsync(inode);
		break;
	case 1:
		doing(m, "write %s[%lu]", paths[file], (unsigned long)index);
		if (!file_write_page(inode, index, word, &source))
			c->file_word[file][index] = word;
		break;
	case 2:
		doing(m, "read %s[%lu]", paths[file], (unsigned long)index);
		error = file_read_page(inode, index, &is, &source);
		if (error == 1 ? is != c->file_word[file][index] : error != -ENOMEM)
			crowd_fails(c, "member %u: read of %s[%lu] returns %d and %#lx, not %#lx", m->id, paths[file],
				    (unsigned long)index, error, (unsigned long)is,
				    (unsigned long)c->file_word[file][index]);
		break;
	case 3:
		doing(m, "store %s[%lu]", paths[file], (unsigned long)index);
		error = ps_mmu_access(addr, true, &access);
		if (!error) {
			*word_at(&access) = word;
			c->file_word[file][index] = word;
		} else if (error != -ENOMEM) {
			crowd_fails(c, "member %u: store to %s[%lu] returns %d", m->id, paths[file],
				    (unsigned long)index, error);
		}
		break;
	default:
		doing(m, "load %s[%lu]", paths[file], (unsigned long)index);
		error = ps_mmu_access(addr, false, &access);
		if (!error)
			is = *word_at(&access);
		if (error ? error != -ENOMEM : is != c->file_word[file][index])
			crowd_fails(c, "member %u: load of %s[%lu] returns %d and %#lx, not %#lx", m->id, paths[file],
				    (unsigned long)index, error, (unsigned long)is,
				    (unsigned long)c->file_word[file][index]);
		break;
	}
	iput(inode);
}

/* ---- children: what they inherit does not change under them */

static void child_main(void *arg)
{
	struct child *child = (struct child *)arg;
	struct crowd *c = child->crowd;
	u64 base = slot_addr(c, child->slot), i, is, round;
	struct ps_access access;
	struct ps_rng rng;
	int error;

	ps_rng_init(&rng, child->seed);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < c->slot_pages; i++) {
			struct own_page *p = &child->page[i];

			if (!load_word(base + (i << PAGE_SHIFT), p, &is, &error))
				crowd_fails(c, "a child of slot %u: load of page %lu returns %d and %#lx, not %#lx",
					    child->slot, (unsigned long)i, error, (unsigned long)is,
					    (unsigned long)p->word);
			if (p->mapped && p->writable && ps_rng_below(&rng, 3) == 0 &&
			    !ps_mmu_access(base + (i << PAGE_SHIFT), true, &access)) {
				p->word = 0xC000000000000000ULL | ps_rng_below(&rng, 1 << 30);
				p->unsure = false;
				*word_at(&access) = p->word;
			}
		}
		if (round == 1)
			split_huge_pages_range(current->mm, base, base + (c->slot_pages << PAGE_SHIFT), 0);
	}
	mmput(current->mm);
	current->mm = NULL;
	mpol_put(current->mempolicy);
	current->mempolicy = NULL;
	child->done = true;
}

static struct task_struct *new_fiber(struct crowd *c, const char *name, int cpu, void (*fn)(void *), void *arg)
{
	struct task_struct *task = ps_task_new(c->world->rt, name, fn, arg);

	assert_non_null(task);
	task->machine = c->world->machine;
	task->stats = c->world->stats;
	task->cpu = cpu;
	task->mm = NULL;
	task->mempolicy = NULL;
	return task;
}

static void op_fork(struct member *m)
{
	struct crowd *c = m->crowd;
	struct mm_struct *mm;
	struct child *child;
	unsigned int i, alive = 0;

	for (i = 0; i < c->nr_children; i++)
		alive += !c->child[i].done;
	if (alive >= MAX_ALIVE || c->nr_children == MAX_CHILDREN)
		return;
	child = &c->child[c->nr_children++];
	child->done = true; /* until it exists */
	doing(m, "fork");
	if (dup_mm(current->mm, &mm))
		return;
	child->crowd = c;
	child->slot = m->slot;
	child->seed = pick(m, 1 << 30);
	child->page = (struct own_page *)calloc(c->slot_pages, sizeof(*child->page));
	assert_non_null(child->page);
	memcpy(child->page, m->page, c->slot_pages * sizeof(*child->page));
	child->done = false;
	child->task = new_fiber(c, "child", current->cpu, child_main, child);
	child->task->mm = mm;
	child->task->now = current->now;
}

static const struct {
	void (*run)(struct member *m);
	unsigned int weight;
} operations[] = {
	{ op_store, 24 },  { op_load, 14 }, { op_mmap, 9 },    { op_munmap, 4 }, { op_mprotect, 5 }, { op_mremap, 4 },
	{ op_discard, 6 }, { op_move, 16 }, { op_migrate, 5 }, { op_mbind, 5 },  { op_split, 6 },    { op_advise, 6 },
	{ op_mlock, 5 },   { op_hold, 8 },  { op_hint, 5 },    { op_kernel, 5 }, { op_file, 16 },    { op_fork, 4 },
};

static void member_main(void *arg)
{
	struct member *m = (struct member *)arg;
	unsigned int total = 0, i;
	u64 k;

	for (i = 0; i < G_N_ELEMENTS(operations); i++)
		total += operations[i].weight;
	for (m->op = 0; m->op < m->crowd->operations && !m->crowd->failed; m->op++) {
		u64 ticket = pick(m, total);

		for (i = 0; ticket >= operations[i].weight; i++)
			ticket -= operations[i].weight;
		operations[i].run(m);
		cond_resched();
	}
	while (m->nr_held)
		drop_one(m);
	for (k = 0; k < m->crowd->slot_pages && !m->crowd->failed; k++)
		check_word(m, k);
	mmput(current->mm);
	current->mm = NULL;
}

/* ---- one crowd */

static const struct {
	const char *machine;
	enum ps_contents contents;
	const char *generation;
} kinds[] = {
	{ "linux-6.1,bits=3,0=4M,1=4M,2=4M,min-free=32", PS_CONTENTS_TAG, NULL },
	{ "two-node,bits=2,0=2M,1=2M,min-free=32", PS_CONTENTS_TAG, NULL },
	{ "four-socket,bits=3,0=4M,1=4M,2=4M,3=4M,min-free=32", PS_CONTENTS_TAG, "6.3-batch" },
	{ "dram-cxl,bits=2,0=2M,1=2M,min-free=32", PS_CONTENTS_BYTES, NULL },
	{ "linux-6.1,bits=4,0=8M,1=8M,2=8M,min-free=32", PS_CONTENTS_TAG, NULL },
};

static void map_files(struct crowd *c)
{
	unsigned int file;
	u64 n = ps_min((u64)FILE_PAGES, c->slot_pages);

	for (file = 0; file < FILES; file++) {
		struct inode *inode;

		assert_int_equal(ps_file_open(c->world->machine->files, paths[file], true, &inode), 0);
		file_extend(inode, (u64)FILE_PAGES << PAGE_SHIFT);
		assert_int_equal(do_mmap(current->mm, file_addr(c, file), n << PAGE_SHIFT, RW,
					 MM_MAP_FIXED | MM_MAP_SHARED, inode, 0),
				 0);
		iput(inode);
	}
}

static void expect_sound(struct crowd *c)
{
	struct ps_check_settings settings = { 0 };
	struct ps_check_report report;

	ps_task_enter(c->world->boot);
	lru_add_drain_all();
	if (check_machine(c->world->machine, &settings, &report) != 0)
		crowd_fails(c, "invariant I%d does not hold: %s", report.violation[0].invariant,
			    report.violation[0].text);
	ps_task_leave();
}

/* Everybody has gone: only files have pages. */
static void expect_empty(struct crowd *c)
{
	long cached = 0, allocated;
	nid_t nid;

	ps_task_enter(c->world->boot);
	shrink_huge_zero_page(c->world->machine);
	drain_all_pages(NULL);
	for_each_node_mask(nid, c->world->machine->memory_nodes) cached += (long)node_page_state(nid, NR_FILE_PAGES);
	allocated = (long)ps_mem_allocated_pages(c->world->machine);
	ps_task_leave();
	if (allocated != cached)
		crowd_fails(c, "%ld pages are allocated though everybody has gone; files have %ld", allocated, cached);
}

static void populate_crowd(struct crowd *c)
{
	unsigned int p, t, threads;
	struct ps_rng rng;

	ps_rng_init(&rng, c->seed);
	for (p = 0; p < PROCESSES; p++) {
		ps_task_enter(c->world->boot);
		c->mm[p] = mm_alloc(c->world->machine);
		assert_non_null(c->mm[p]);
		c->world->boot->mm = c->mm[p];
		map_files(c);
		c->world->boot->mm = NULL;
		ps_task_leave();
	}
	for (p = 0; p < PROCESSES; p++) {
		threads = 1 + (unsigned int)ps_rng_below(&rng, MAX_THREADS);
		for (t = 0; t < threads; t++) {
			struct member *m = &c->member[c->nr_members];

			m->crowd = c;
			m->id = c->nr_members++;
			m->process = p;
			m->slot = t;
			ps_rng_init(&m->rng, c->seed * 16 + m->id);
			m->page = (struct own_page *)calloc(c->slot_pages, sizeof(*m->page));
			assert_non_null(m->page);
			m->task = new_fiber(c, "member", (int)ps_rng_below(&rng, c->world->machine->nr_cpus),
					    member_main, m);
			m->task->mm = c->mm[p];
			ps_task_enter(c->world->boot);
			mmget(c->mm[p]);
			ps_task_leave();
		}
	}
}

static void run_in_world(struct crowd *c)
{
	struct ps_machine *machine = c->world->machine;
	unsigned int i;

	machine->files->tmpfs_huge = (enum shmem_huge)(c->seed / 3 % 4);
	machine->faults->thp_enabled = c->seed % 2 ? THP_ALWAYS : THP_MADVISE;
	machine->faults->numa.misplaced = misplaced;
	machine->faults->numa.migrate = migrate_misplaced_page;
	machine->faults->numa_balancing = NUMA_BALANCING_NORMAL;
	c->huge = 1ULL << machine->pt_bits;
	c->slot_pages = SLOT_HUGE * c->huge;
	c->operations = 60;
	populate_crowd(c);
	ps_runtime_run(c->world->rt, UINT64_MAX);
	if (!c->failed)
		expect_sound(c);
	for (i = 0; i < c->nr_members; i++) {
		ps_task_free(c->member[i].task);
		free(c->member[i].page);
	}
	for (i = 0; i < c->nr_children; i++) {
		ps_task_free(c->child[i].task);
		free(c->child[i].page);
	}
	for (i = 0; i < PROCESSES; i++) {
		ps_task_enter(c->world->boot);
		mmput(c->mm[i]);
		ps_task_leave();
	}
	if (!c->failed) {
		expect_sound(c);
		expect_empty(c);
	}
}

static bool run_crowd(u64 seed, bool verbose)
{
	static const u32 shuffles[] = { 0, 500, 4000, 20000 };
	struct crowd c = { .seed = seed, .verbose = verbose };
	struct ps_world_settings settings = { .contents = kinds[seed % G_N_ELEMENTS(kinds)].contents,
					      .generation = kinds[seed % G_N_ELEMENTS(kinds)].generation,
					      .runtime = { .seed = seed, .shuffle = shuffles[seed / 5 % 4] } };
	struct ps_machine_spec *spec = ps_machine_spec_load(kinds[seed % G_N_ELEMENTS(kinds)].machine, NULL, NULL);
	struct ps_bug_handler old = ps_bug_set_handler((struct ps_bug_handler){ hear_bug, &c });
	struct ps_alloc_counts before, behind;

	assert_non_null(spec);
	ps_alloc_counts(&before);
	assert_int_equal(ps_world_new(spec, &settings, &c.world), 0);
	run_in_world(&c);
	ps_world_free(c.world);
	ps_alloc_counts(&behind);
	ps_machine_spec_free(spec);
	ps_bug_set_handler(old);
	if (!c.failed && behind.live != before.live)
		crowd_fails(&c, "%ld blocks of host memory are left", (long)(behind.live - before.live));
	return !c.failed;
}

static void crowds_break_nothing(void **state)
{
	u64 seed, bad = 0;

	(void)state;
	print_message("crowds %lu to %lu\n", (unsigned long)first_crowd, (unsigned long)last_crowd);
	for (seed = first_crowd; seed <= last_crowd && bad < 10; seed++)
		bad += !run_crowd(seed, false);
	assert_int_equal(bad, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crowds_break_nothing),
	};

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return !run_crowd(strtoull(argv[2], NULL, 0), true);
	if (argc == 4 && !strcmp(argv[1], "--hunt")) {
		first_crowd = strtoull(argv[2], NULL, 0);
		last_crowd = strtoull(argv[3], NULL, 0);
	}
	if (argc == 2 && !strcmp(argv[1], "--slow"))
		last_crowd = 2000;
	return cmocka_run_group_tests_name("crowd", tests, NULL, NULL);
}
