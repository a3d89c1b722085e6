/* SPDX-License-Identifier: MIT */
/*
 * Files by path, their life, and the system calls on them. An inode lives as long as somebody refers to it: its name,
 * an opener, a mapping. The last reference truncates it and frees it after a grace period, because a lockless lookup
 * may still hold a page that says it belongs here.
 *
 * Truncation and faults, as in Linux:
 *	1 i_size is set		a fault from now on refuses; one that has checked before has locked its page or not yet
 *	2 page tables		entries of the pages behind the end go
 *	3 pages			each under its lock, which waits for faults that are past their check
 *	4 page tables again	private copies made between 2 and 3 (copying reads a page that 3 has removed since)
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/contents.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_ref.h>
#include <pagesim/rcu.h>
#include <pagesim/shmem.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "cache/diskfs.h"

/* ---- the table ---- */

int ps_files_init(struct ps_machine *machine)
{
	struct ps_files *files;

	if (machine->files)
		return -EEXIST;
	files = (struct ps_files *)ps_zalloc(sizeof(*files));
	if (!files)
		return -ENOMEM;
	files->machine = machine;
	spin_lock_init(&files->lock, LEAF_LOCK);
	INIT_LIST_HEAD(&files->inodes);
	for (size_t i = 0; i < ARRAY_SIZE(files->names); i++)
		INIT_LIST_HEAD(&files->names[i]);
	disk_init(&files->disk, machine);
	shmem_sb_init(&files->tmpfs, "sb-tmpfs:/t");
	shmem_sb_init(&files->anon, "sb-tmpfs:shm");
	machine->files = files;
	return 0;
}

static struct list_head *name_bucket(struct ps_files *files, const char *path)
{
	u64 hash = 0xcbf29ce484222325ULL;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 0x100000001b3ULL;
	return &files->names[hash % ARRAY_SIZE(files->names)];
}

/* Context: files->lock. */
static struct inode *find_name(struct ps_files *files, const char *path)
{
	struct inode *inode;

	list_for_each_entry(inode, name_bucket(files, path), i_hash) {
		if (!strcmp(inode->name, path))
			return inode;
	}
	return NULL;
}

static struct inode *inode_new(struct ps_files *files, enum ps_file_kind kind)
{
	struct inode *inode = (struct inode *)ps_zalloc(sizeof(*inode));

	if (!inode)
		return NULL;
	inode->files = files;
	inode->kind = kind;
	inode->i_mapping = &inode->i_data;
	inode->i_blkbits = PAGE_SHIFT;
	inode->unprivileged = current && current->unprivileged;
	atomic_set(&inode->i_count, 1);
	init_rwsem(&inode->i_rwsem, INODE_RWSEM);
	INIT_LIST_HEAD(&inode->i_list);
	INIT_LIST_HEAD(&inode->i_hash);
	INIT_LIST_HEAD(&inode->shrinklist);
	xa_init(&inode->i_blocks);
	address_space_init(&inode->i_data, inode, kind == PS_FILE_DISK ? &disk_aops : &shmem_aops);
	return inode;
}

static void inode_free_rcu(struct rcu_head *head)
{
	ps_free(container_of(head, struct inode, i_rcu));
}

/* The last reference is gone. */
static void evict(struct inode *inode)
{
	struct ps_files *files = inode->files;

	spin_lock(&files->lock);
	list_del_init(&inode->i_list);
	spin_unlock(&files->lock);
	truncate_inode_pages_final(inode->i_mapping);
	if (inode->kind == PS_FILE_TMPFS)
		shmem_forget_shrinkable(inode);
	disk_forget(inode, 0, (pgoff_t)-1);
	if (files->hooks.inode_free)
		files->hooks.inode_free(inode);
	address_space_destroy(inode->i_mapping);
	xa_destroy(&inode->i_blocks);
	ps_free(inode->name);
	call_rcu(&inode->i_rcu, inode_free_rcu);
}

void ihold(struct inode *inode)
{
	atomic_inc(&inode->i_count);
}

void iput(struct inode *inode)
{
	if (inode && atomic_dec_and_test(&inode->i_count))
		evict(inode);
}

int ps_file_open(struct ps_files *files, const char *path, bool create, struct inode **ret_inode)
{
	struct inode *inode, *found;
	size_t len = strlen(path);

	if (path[0] != '/' || path[len - 1] == '/')
		return -EINVAL;
	spin_lock(&files->lock);
	found = find_name(files, path);
	if (found)
		ihold(found);
	spin_unlock(&files->lock);
	if (found) {
		*ret_inode = found;
		return 0;
	}
	if (!create)
		return -ENOENT;

	inode = inode_new(files, strncmp(path, "/t/", 3) ? PS_FILE_DISK : PS_FILE_TMPFS);
	if (!inode)
		return -ENOMEM;
	inode->name = ps_strdup(path);
	if (!inode->name) {
		ps_free(inode);
		return -ENOMEM;
	}
	spin_lock(&files->lock);
	found = find_name(files, path);
	if (found) {
		ihold(found);
	} else {
		inode->i_ino = ++files->next_ino;
		ihold(inode); /* the name's */
		list_add_tail(&inode->i_list, &files->inodes);
		list_add_tail(&inode->i_hash, name_bucket(files, path));
	}
	spin_unlock(&files->lock);
	if (found) {
		ps_free(inode->name);
		ps_free(inode);
		inode = found;
	}
	*ret_inode = inode;
	return 0;
}

int ps_file_unlink(struct ps_files *files, const char *path)
{
	struct inode *inode;

	spin_lock(&files->lock);
	inode = find_name(files, path);
	if (inode)
		list_del_init(&inode->i_hash);
	spin_unlock(&files->lock);
	if (!inode)
		return -ENOENT;
	iput(inode);
	return 0;
}

int shmem_file_setup(struct ps_files *files, u64 size, struct inode **ret_inode)
{
	struct inode *inode = inode_new(files, PS_FILE_TMPFS);

	if (!inode)
		return -ENOMEM;
	inode->anon = true;
	inode->i_size = size;
	spin_lock(&files->lock);
	inode->i_ino = ++files->next_ino;
	list_add_tail(&inode->i_list, &files->inodes);
	spin_unlock(&files->lock);
	*ret_inode = inode;
	return 0;
}

/* The next inode behind @inode (NULL: the first), referenced; @inode is put. */
static struct inode *next_inode(struct ps_files *files, struct inode *inode)
{
	struct list_head *pos;
	struct inode *next = NULL;

	spin_lock(&files->lock);
	pos = inode ? inode->i_list.next : files->inodes.next;
	for (; pos != &files->inodes; pos = pos->next) {
		struct inode *candidate = list_entry(pos, struct inode, i_list);

		if (atomic_inc_not_zero(&candidate->i_count)) {
			next = candidate;
			break;
		}
	}
	spin_unlock(&files->lock);
	iput(inode);
	return next;
}

void ps_files_destroy(struct ps_machine *machine)
{
	struct ps_files *files = machine->files;

	if (!files)
		return;
	disk_complete(&files->disk, NULL, 0);
	shmem_sb_destroy(&files->tmpfs);
	shmem_sb_destroy(&files->anon);
	while (!list_empty(&files->inodes)) {
		struct inode *inode = list_first_entry(&files->inodes, struct inode, i_list);

		if (!list_empty(&inode->i_hash)) {
			ps_file_unlink(files, inode->name);
			continue;
		}
		/* Somebody has forgotten his reference; the machine goes all the same. */
		WARN_ON(atomic_read(&inode->i_count) != 0);
		evict(inode);
	}
	rcu_barrier();
	machine->files = NULL;
	ps_free(files);
}

/* ---- size ---- */

static void i_size_write(struct inode *inode, u64 size)
{
	WRITE_ONCE(inode->i_size, size);
}

void file_extend(struct inode *inode, u64 size)
{
	down_write(&inode->i_rwsem);
	if (inode->i_size < size)
		i_size_write(inode, size);
	up_write(&inode->i_rwsem);
}

static void unmap_pages(struct inode *inode, pgoff_t start, pgoff_t nr, bool even_cows)
{
	const struct ps_cache_hooks *hooks = &inode->files->hooks;

	if (hooks->unmap_mapping_pages)
		hooks->unmap_mapping_pages(inode->i_mapping, start, nr, even_cows);
}

int file_truncate(struct inode *inode, u64 size)
{
	struct address_space *mapping = inode->i_mapping;
	const pgoff_t behind = (size + PAGE_SIZE - 1) >> PAGE_SHIFT;
	u64 old;

	down_write(&inode->i_rwsem);
	old = inode->i_size;
	if (inode->kind == PS_FILE_DISK)
		filemap_invalidate_lock(mapping);
	i_size_write(inode, size);
	if (size < old || inode->kind == PS_FILE_DISK) {
		unmap_pages(inode, behind, 0, true);
		truncate_inode_pages(mapping, behind);
		unmap_pages(inode, behind, 0, true);
		disk_forget(inode, behind, (pgoff_t)-1);
	}
	if (inode->kind == PS_FILE_DISK)
		filemap_invalidate_unlock(mapping);
	up_write(&inode->i_rwsem);
	return 0;
}

int file_punch_hole(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	int err = 0;

	if (start >= end)
		return -EINVAL;
	down_write(&inode->i_rwsem);
	if (inode->kind == PS_FILE_TMPFS) {
		/* Private copies stay: a hole is a write of zeroes, not the end of the file. */
		unmap_pages(inode, start, end - start, false);
		truncate_inode_pages_range(mapping, start, end - 1);
	} else {
		err = filemap_write_and_wait_range(mapping, start, end - 1);
		if (!err) {
			filemap_invalidate_lock(mapping);
			unmap_pages(inode, start, end - start, false);
			truncate_inode_pages_range(mapping, start, end - 1);
			disk_forget(inode, start, end - 1);
			filemap_invalidate_unlock(mapping);
		}
	}
	up_write(&inode->i_rwsem);
	return err;
}

/* ---- read and write ---- */

int file_write_begin(struct inode *inode, pgoff_t index, const struct ps_page_source *source, struct page **ret_page)
{
	struct address_space *mapping = inode->i_mapping;
	struct page *page;
	int err;

	if (inode->kind == PS_FILE_TMPFS)
		return shmem_get_page(inode, index, SGP_WRITE, SHMEM_HINT_NONE, source, ret_page);
	page = pagecache_get_page(mapping, index, FGP_LOCK | FGP_WRITE | FGP_CREAT, mapping->gfp_mask & ~__GFP_FS,
				  source);
	if (!page)
		return -ENOMEM;
	wait_for_stable_page(page);
	err = disk_prepare_write(inode, page);
	if (err) {
		unlock_page(page);
		put_page(page);
		return err;
	}
	*ret_page = page;
	return 0;
}

void file_write_end(struct inode *inode, pgoff_t index, struct page *page)
{
	struct page *head = compound_head(page);
	const u64 end = (index + 1) << PAGE_SHIFT;

	if (inode->kind == PS_FILE_TMPFS) {
		if (inode->i_size < end)
			i_size_write(inode, end);
		if (!PageUptodate(head)) {
			/* Only this page of a huge one was written. */
			for (unsigned long i = 0; i < compound_nr(head); i++) {
				if (head + i != page)
					clear_highpage(head + i);
			}
			SetPageUptodate(head);
		}
		set_page_dirty(head);
	} else {
		disk_commit_write(head);
		if (inode->i_size < end)
			i_size_write(inode, end);
	}
	unlock_page(head);
	put_page(head);
}

int file_write_page(struct inode *inode, pgoff_t index, u64 word, const struct ps_page_source *source)
{
	struct page *page;
	int err;

	down_write(&inode->i_rwsem);
	err = file_write_begin(inode, index, source, &page);
	if (!err) {
		clear_highpage(page);
		page_word_write(page, word);
		file_write_end(inode, index, page);
	}
	up_write(&inode->i_rwsem);
	return err;
}

static int shmem_read_page(struct inode *inode, pgoff_t index, u64 *ret_word, const struct ps_page_source *source)
{
	struct page *page;
	int err = shmem_get_page(inode, index, SGP_READ, SHMEM_HINT_NONE, source, &page);

	if (err == -EINVAL)
		return 0;
	if (err)
		return err;
	if (!page) {
		*ret_word = 0;
		return 1;
	}
	unlock_page(compound_head(page));
	mark_page_accessed(page);
	*ret_word = page_word_read(page);
	put_page(page);
	return 1;
}

int file_read_page(struct inode *inode, pgoff_t index, u64 *ret_word, const struct ps_page_source *source)
{
	struct address_space *mapping = inode->i_mapping;
	struct page *page;

	if (inode->kind == PS_FILE_TMPFS)
		return shmem_read_page(inode, index, ret_word, source);
	for (;;) {
		if (index >= i_size_pages(inode))
			return 0;
		page = pagecache_get_page(mapping, index, 0, 0, NULL);
		if (!page) {
			/* Adding a page excludes truncation, which holds the invalidate lock for writing. */
			filemap_invalidate_lock_shared(mapping);
			page = pagecache_get_page(mapping, index, FGP_CREAT, mapping->gfp_mask, source);
			filemap_invalidate_unlock_shared(mapping);
			if (!page)
				return -ENOMEM;
		}
		if (!PageUptodate(page)) {
			filemap_invalidate_lock_shared(mapping);
			lock_page(page);
			if (page->mapping != mapping) {
				unlock_page(page);
				filemap_invalidate_unlock_shared(mapping);
				put_page(page);
				continue;
			}
			if (PageUptodate(page))
				unlock_page(page);
			else
				mapping->a_ops->read_page(inode, page);
			filemap_invalidate_unlock_shared(mapping);
			if (!PageUptodate(page)) {
				put_page(page);
				return -EIO;
			}
		}
		break;
	}
	/* Uptodate before the size: truncation sets the size before it zeroes or removes. */
	if (index >= i_size_pages(inode)) {
		put_page(page);
		return 0;
	}
	mark_page_accessed(page);
	*ret_word = page_word_read(page);
	put_page(page);
	return 1;
}

/* ---- faults ---- */

int file_fault(struct inode *inode, pgoff_t index, int hint, const struct ps_page_source *source,
	       struct page **ret_page, bool *ret_major)
{
	int err;

	if (inode->kind == PS_FILE_DISK)
		return filemap_fault(inode, index, source, ret_page, ret_major);
	if (ret_major)
		*ret_major = false;
	err = shmem_get_page(inode, index, SGP_CACHE, (enum shmem_huge_hint)hint, source, ret_page);
	return err == -EINVAL ? -EFAULT : err;
}

bool file_wants_mkwrite(const struct inode *inode)
{
	return inode->kind == PS_FILE_DISK;
}

int file_page_mkwrite(struct inode *inode, struct page *page)
{
	struct address_space *mapping = inode->i_mapping;
	int err = 0;

	filemap_invalidate_lock_shared(mapping);
	lock_page(page);
	if (page->mapping != mapping || page->index >= i_size_pages(inode)) {
		err = -EFAULT;
	} else if (inode->kind == PS_FILE_DISK) {
		err = disk_prepare_write(inode, page);
		if (!err) {
			disk_commit_write(page);
			set_page_dirty(page);
			wait_for_stable_page(page);
		}
	}
	if (err)
		unlock_page(page);
	filemap_invalidate_unlock_shared(mapping);
	return err;
}

/* ---- sync and drop ---- */

int file_fsync(struct inode *inode)
{
	if (inode->kind == PS_FILE_TMPFS)
		return 0;
	return filemap_write_and_wait_range(inode->i_mapping, 0, (pgoff_t)-1);
}

int file_fadvise_dontneed(struct inode *inode, pgoff_t start, pgoff_t end)
{
	struct address_space *mapping = inode->i_mapping;
	bool held = READ_ONCE(inode->hold_writeback);
	unsigned long failed;

	/* Nothing lies behind a tmpfs that its pages could be read from again. */
	if (inode->kind == PS_FILE_TMPFS)
		return 0;
	/* A disk is slower than what follows: what is being written stays. */
	WRITE_ONCE(inode->hold_writeback, true);
	filemap_fdatawrite_range(mapping, start, end, WB_SYNC_NONE);
	lru_add_drain();
	invalidate_mapping_pages(mapping, start, end, &failed);
	/* What was left may be held by another CPU's batch. */
	if (failed) {
		lru_add_drain_all();
		invalidate_mapping_pages(mapping, start, end, NULL);
	}
	WRITE_ONCE(inode->hold_writeback, held);
	if (!held)
		disk_complete(&inode->files->disk, inode, 0);
	return 0;
}

unsigned long ps_files_drop_pagecache(struct ps_files *files)
{
	struct inode *inode = NULL;
	unsigned long dropped = 0;

	lru_add_drain_all();
	while ((inode = next_inode(files, inode))) {
		if (inode->i_mapping->nrpages)
			dropped += invalidate_mapping_pages(inode->i_mapping, 0, (pgoff_t)-1, NULL);
	}
	count_vm_event(DROP_PAGECACHE);
	return dropped;
}

int ps_files_unuse(struct ps_files *files, const struct ps_page_source *source)
{
	struct inode *inode = NULL;
	int err;

	while ((inode = next_inode(files, inode))) {
		if (!atomic_long_read(&inode->swapped))
			continue;
		err = shmem_unuse(inode, source);
		if (err) {
			iput(inode);
			return err;
		}
	}
	return 0;
}

int ps_file_writeback_begin(struct inode *inode)
{
	if (inode->kind != PS_FILE_DISK)
		return -EINVAL;
	WRITE_ONCE(inode->hold_writeback, true);
	return filemap_fdatawrite_range(inode->i_mapping, 0, (pgoff_t)-1, WB_SYNC_NONE);
}

int ps_file_writeback_end(struct inode *inode)
{
	if (inode->kind != PS_FILE_DISK)
		return -EINVAL;
	/* No lock: who waits for this writeback may hold any of the file's. */
	WRITE_ONCE(inode->hold_writeback, false);
	disk_complete(&inode->files->disk, inode, 0);
	return 0;
}

/* ---- truth ---- */

void ps_files_count(struct ps_files *files, nid_t nid, struct ps_file_counts *ret_counts)
{
	struct inode *inode = NULL;

	memset(ret_counts, 0, sizeof(*ret_counts));
	while ((inode = next_inode(files, inode))) {
		struct address_space *mapping = inode->i_mapping;
		unsigned long index;
		void *entry;

		xa_for_each(&mapping->i_pages, index, entry) {
			struct page *page = (struct page *)entry;
			long nr;
			bool huge;

			if (xa_is_value(entry) || (nid != NUMA_NO_NODE && page_to_nid(page) != nid))
				continue;
			nr = (long)compound_nr(page);
			huge = compound_order(page) == HPAGE_PMD_ORDER;
			ret_counts->file_pages += nr;
			if (PageSwapBacked(page)) {
				ret_counts->shmem += nr;
				ret_counts->shmem_thps += huge ? nr : 0;
			} else {
				ret_counts->file_thps += huge ? nr : 0;
			}
			if (mapping_can_writeback(mapping)) {
				ret_counts->dirty += PageDirty(page) ? nr : 0;
				ret_counts->writeback += PageWriteback(page) ? nr : 0;
			}
		}
	}
	ret_counts->writeback += swap_cache_writeback(files->machine, nid);
}

bool ps_files_validate(struct ps_files *files, char *ret_why, size_t why_len)
{
	struct inode *inode = NULL;
	bool ok = true;

	while (ok && (inode = next_inode(files, inode)))
		ok = address_space_validate(inode->i_mapping, ret_why, why_len);
	if (!ok) {
		iput(inode);
		return false;
	}
	for (nid_t nid = 0; nid < (nid_t)files->machine->nr_nodes; nid++) {
		const s64 *counter = ps_current->stats->node[nid];
		struct ps_file_counts counts;
		s64 pending = 0;

		ps_files_count(files, nid, &counts);
		for (int zid = 0; zid < MAX_NR_ZONES; zid++)
			pending += ps_current->stats->zone[nid][zid][NR_ZONE_WRITE_PENDING];

		const struct {
			const char *name;
			s64 counted, is;
		} checks[] = {
			{ "NR_FILE_PAGES", counter[NR_FILE_PAGES] - counter[NR_SWAPCACHE], counts.file_pages },
			{ "NR_SHMEM", counter[NR_SHMEM], counts.shmem },
			{ "NR_SHMEM_THPS", counter[NR_SHMEM_THPS], counts.shmem_thps },
			{ "NR_FILE_THPS", counter[NR_FILE_THPS], counts.file_thps },
			{ "NR_FILE_DIRTY", counter[NR_FILE_DIRTY], counts.dirty },
			{ "NR_WRITEBACK", counter[NR_WRITEBACK], counts.writeback },
			{ "NR_ZONE_WRITE_PENDING", pending, counts.dirty + counts.writeback },
		};

		for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
			if (checks[i].counted == checks[i].is)
				continue;
			if (ret_why && why_len)
				snprintf(ret_why, why_len, "node %d: %s is %lld, the files' pages add up to %lld", nid,
					 checks[i].name, (long long)checks[i].counted, (long long)checks[i].is);
			return false;
		}
	}
	return true;
}
