/* SPDX-License-Identifier: MIT */
/*
 * A balloon device as of virtio: the host asks for pages, the guest allocates them and gives them away; the host gives
 * back, the guest frees them. One per machine, made when it is first inflated.
 *
 * Managed pages of a zone shrink by what is in the balloon, so watermarks per CPU list and reserves see a smaller machine.
 *
 * Locking: balloon_lock is held over everything said to the host, and by migration only if it is free: who inflates
 * may hold it and, allocating, wait for the compaction that wants to migrate.
 *
 * Fidelity: simplified (drivers/virtio/virtio_balloon.c of 6.1): telling the host takes no time; no free page
 * reporting, statistics queue, OOM deflation or shrinker; a page that cannot be had ends the inflation instead of being
 * tried again every 200 ms.
 *
 * Layer: engines
 */
#ifndef PAGESIM_BALLOON_H
#define PAGESIM_BALLOON_H

#include <pagesim/balloon_compaction.h>
#include <pagesim/mutex.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_machine;

struct ps_balloon {
	struct balloon_dev_info dev;
	struct mutex balloon_lock; /* class DEVICE_MUTEX */
	unsigned long num_pages;   /* given to the host, isolated ones included; balloon_lock */
	struct ps_page_owner owner;
};

/**
 * Gives up to nr pages to the host; the zonelist of the current CPU's node decides where they come from.
 * Context: may sleep; no locks. Return: pages given, fewer where memory ran out; -ENOMEM: no device could be made.
 */
long ps_balloon_inflate(unsigned long nr);
/** Takes up to nr pages back and frees them. Context: may sleep; no locks. Return: pages, fewer if there were fewer. */
long ps_balloon_deflate(unsigned long nr);
/** Pages in the machine's balloon. */
unsigned long ps_balloon_pages(const struct ps_machine *machine);
/** Deflates and frees the device. Context: a current task of the machine; nothing else runs. None is fine. */
void ps_balloon_destroy(struct ps_machine *machine);

#ifdef __cplusplus
}
#endif
#endif
