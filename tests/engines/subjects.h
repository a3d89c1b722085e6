/* SPDX-License-Identifier: MIT */
/*
 * Pages in every state an engine can meet: of each kind, and with each of the things that hinder it. A test takes the portrait
 * of one before it lets the engine try, and compares it afterwards.
 */
#ifndef TESTS_ENGINES_SUBJECTS_H
#define TESTS_ENGINES_SUBJECTS_H

#include "fixtures/scene_world.h"

#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/writeback.h>

/** A page in some state, made by build() and unmade by undo(). Zero: its files are /t/f and /d/f, its words of seed 1. */
struct subject {
	const char *tmpfs, *disk;
	u64 seed;
	struct page *page;
	u64 addr;  /* where A maps it; 0: nowhere */
	u64 pages; /* base pages */
	struct task_struct *other;
	struct inode *inode;
	struct page *held;
	unsigned int flags;
};

static inline u64 subject_seed(const struct subject *s)
{
	return s->seed ? s->seed : 1;
}

static inline const char *subject_tmpfs(const struct subject *s)
{
	return s->tmpfs ? s->tmpfs : "/t/f";
}

static inline const char *subject_disk(const struct subject *s)
{
	return s->disk ? s->disk : "/d/f";
}

static inline void mapped_at(struct subject *s, u64 addr, u64 n)
{
	s->addr = addr;
	s->pages = n;
	s->page = compound_head(page_at(addr));
}

static inline void build_anon(struct subject *s)
{
	mapped_at(s, map_filled(1, subject_seed(s)), 1);
}

static inline void build_huge(struct subject *s)
{
	mapped_at(s, map_huge_filled(1, subject_seed(s)), huge_pages());
}

static inline void build_shared(struct subject *s)
{
	build_anon(s);
	fork_task("B");
}

static inline void build_huge_shared(struct subject *s)
{
	build_huge(s);
	fork_task("B");
}

static inline void build_huge_in_pieces(struct subject *s)
{
	build_huge(s);
	assert_int_equal(do_mprotect(current->mm, s->addr, pages(3), RO), 0);
	assert_int_equal(do_mprotect(current->mm, s->addr, pages(3), RW), 0);
	assert_true(pmd_table(pmd_at(s->addr)));
}

static inline void build_read_only(struct subject *s)
{
	build_anon(s);
	assert_int_equal(do_mprotect(current->mm, s->addr, pages(1), RO), 0);
}

static inline void build_prot_none(struct subject *s)
{
	build_anon(s);
	assert_int_equal(do_mprotect(current->mm, s->addr, pages(1), 0), 0);
}

static inline void build_mlocked(struct subject *s)
{
	build_anon(s);
	assert_int_equal(do_mlock(current->mm, s->addr, pages(1)), 0);
}

static inline void build_tmpfs(struct subject *s)
{
	u64 addr = map_file(subject_tmpfs(s), 0, 1, RW, SHARED);

	store(addr, word_of(subject_seed(s), 0));
	mapped_at(s, addr, 1);
}

static inline void build_huge_tmpfs(struct subject *s)
{
	u64 addr;

	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	addr = map_file(subject_tmpfs(s), 0, huge_pages(), RW, SHARED);
	fill(addr, huge_pages(), subject_seed(s));
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_NEVER;
	mapped_at(s, addr, huge_pages());
}

static inline void build_disk(struct subject *s)
{
	u64 addr = map_file(subject_disk(s), 0, 1, RW, SHARED);

	store(addr, word_of(subject_seed(s), 0));
	mapped_at(s, addr, 1);
	assert_true(PageDirty(s->page) && page_has_buffers(s->page));
}

static inline void build_disk_clean(struct subject *s)
{
	build_disk(s);
	s->inode = open_file(subject_disk(s));
	assert_int_equal(file_fsync(s->inode), 0);
	iput(s->inode);
	s->inode = NULL;
}

static inline void build_unmapped_cache(struct subject *s)
{
	build_disk(s);
	assert_int_equal(do_munmap(current->mm, s->addr, pages(1)), 0);
	s->addr = 0;
}

static inline void build_held(struct subject *s)
{
	build_anon(s);
	s->flags = FOLL_GET;
	s->held = grab(s->addr, s->flags);
}

static inline void build_pinned(struct subject *s)
{
	build_anon(s);
	s->flags = FOLL_PIN | FOLL_WRITE;
	s->held = grab(s->addr, s->flags);
}

static inline void build_huge_held(struct subject *s)
{
	build_huge(s);
	s->flags = FOLL_GET;
	s->held = grab(s->addr + pages(7), s->flags);
}

static inline void build_huge_pinned(struct subject *s)
{
	build_huge(s);
	s->flags = FOLL_PIN | FOLL_WRITE;
	s->held = grab(s->addr, s->flags);
}

static inline void build_tmpfs_held(struct subject *s)
{
	build_tmpfs(s);
	s->flags = FOLL_GET;
	s->held = grab(s->addr, s->flags);
}

static inline void build_disk_held(struct subject *s)
{
	build_disk(s);
	s->flags = FOLL_GET;
	s->held = grab(s->addr, s->flags);
}

static inline void undo_held(struct subject *s)
{
	drop(s->held, s->flags);
}

static inline void build_locked(struct subject *s)
{
	struct task_struct *a = current;

	build_anon(s);
	s->other = scene_task("locker", 1);
	as(s->other);
	lock_page(s->page);
	as(a);
}

static inline void undo_locked(struct subject *s)
{
	struct task_struct *a = current;

	as(s->other);
	unlock_page(s->page);
	as(a);
}

static inline void build_writeback(struct subject *s)
{
	build_disk(s);
	s->inode = open_file(subject_disk(s));
	assert_int_equal(ps_file_writeback_begin(s->inode), 0);
	assert_true(PageWriteback(s->page));
}

static inline void undo_writeback(struct subject *s)
{
	ps_file_writeback_end(s->inode);
	iput(s->inode);
}

/* A buffer somebody works on. */
static inline void build_buffer_locked(struct subject *s)
{
	struct task_struct *a = current;

	build_disk(s);
	s->other = scene_task("locker", 1);
	as(s->other);
	lock_buffer(page_buffers(s->page));
	as(a);
}

static inline void undo_buffer_locked(struct subject *s)
{
	struct task_struct *a = current;

	as(s->other);
	unlock_buffer(page_buffers(s->page));
	as(a);
}

/* File systems that cannot migrate: the engine writes out and releases what they keep. */
static struct address_space_operations no_migration, no_migration_no_write;

static inline void use_ops(struct subject *s, struct address_space_operations *ops, enum migrate_kind kind)
{
	*ops = *s->page->mapping->a_ops;
	ops->migrate_kind = kind;
	if (ops == &no_migration_no_write)
		ops->writepage = NULL;
	s->page->mapping->a_ops = ops;
}

static inline void build_fallback_clean(struct subject *s)
{
	build_disk_clean(s);
	use_ops(s, &no_migration, MIGRATE_KIND_FALLBACK);
}

static inline void build_fallback_dirty(struct subject *s)
{
	build_disk(s);
	use_ops(s, &no_migration, MIGRATE_KIND_FALLBACK);
}

static inline void build_fallback_unwritable(struct subject *s)
{
	build_disk(s);
	use_ops(s, &no_migration_no_write, MIGRATE_KIND_FALLBACK);
}

/* A block device's page: who holds a buffer of it has a pointer into the frame. */
static struct address_space_operations block_device;

static inline void build_block_device(struct subject *s)
{
	build_disk(s);
	use_ops(s, &block_device, MIGRATE_KIND_BUFFERS_NOREFS);
}

static inline void build_block_device_used(struct subject *s)
{
	build_block_device(s);
	get_bh(page_buffers(s->page)->b_this_page);
}

static inline void undo_block_device_used(struct subject *s)
{
	put_bh(page_buffers(s->page)->b_this_page);
}

/* A file's buffer that somebody holds without working on it: he finds the frame anew when he does. */
static inline void build_buffer_held(struct subject *s)
{
	build_disk(s);
	get_bh(page_buffers(s->page));
}

static inline void undo_buffer_held(struct subject *s)
{
	put_bh(page_buffers(page_at(s->addr)));
}

static inline void undo_nothing(struct subject *s)
{
	(void)s;
}

/* All there is to know of a page and its mapping. */
struct portrait {
	struct page page;
	u64 entry;
	u64 words[4];
};

static inline u64 entry_of(u64 addr)
{
	if (!addr)
		return 0;
	return pmd_table(pmd_at(addr)) ? pte_at(addr).val : pmd_at(addr).val;
}

static inline struct portrait take_portrait(const struct subject *s)
{
	struct portrait p = { .page = *s->page, .entry = entry_of(s->addr) };
	u64 i;

	for (i = 0; i < 4 && i < s->pages; i++)
		p.words[i] = s->page[i].contents;
	/*
	 * Where it is on its list is not part of it, nor whether somebody waited; and that the entry was dirty the page may
	 * know from the attempt.
	 */
	memset(&p.page.lru, 0, sizeof(p.page.lru));
	p.page.flags &= ~(1UL << PG_waiters | (p.entry & _PAGE_DIRTY ? 1UL << PG_dirty : 0));
	return p;
}

static inline void expect_portrait(const char *name, const struct portrait *before, const struct subject *s)
{
	struct portrait now = take_portrait(s);

	if (now.page.flags != before->page.flags)
		fail_msg("%s: flags %#lx became %#lx", name, before->page.flags, now.page.flags);
	if (now.entry != before->entry)
		fail_msg("%s: entry %#lx became %#lx", name, (unsigned long)before->entry, (unsigned long)now.entry);
	if (memcmp(&now.page, &before->page, sizeof(now.page)) || memcmp(now.words, before->words, sizeof(now.words)))
		fail_msg("%s: the page is not as it was", name);
}

#endif
