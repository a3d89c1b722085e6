/* SPDX-License-Identifier: MIT */
/*
 * What inode.c needs of the disk file system: setting up the disk and a file's place on it, and the step between "this
 * page is about to be written" and the page being dirty.
 */
#ifndef CACHE_DISKFS_H
#define CACHE_DISKFS_H

#include <pagesim/inode.h>

extern const struct address_space_operations disk_aops;

void disk_init(struct ps_disk *disk, const struct ps_machine *machine);

/**
 * Buffers for the page and room on the disk for what it will hold, so that writing it out later cannot fail for memory.
 * Context: page locked; allocates. Return: 0, -ENOMEM.
 */
int disk_prepare_write(struct inode *inode, struct page *page);

/**
 * All buffers hold new data: uptodate and dirty, and with them the page. Context: page locked, disk_prepare_write
 * done.
 */
void disk_commit_write(struct page *page);

/** Forgets what the disk holds of pages @start..@end. Context: none of them is under writeback. */
void disk_forget(struct inode *inode, pgoff_t start, pgoff_t end);

/** Completes what is under way for @inode (NULL: for all), at most @max (0: no limit). Return: how many buffers. */
unsigned long disk_complete(struct ps_disk *disk, struct inode *inode, unsigned long max);

#endif
