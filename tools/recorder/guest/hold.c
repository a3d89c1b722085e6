/* SPDX-License-Identifier: MIT */
/* Pipes and rings. */
#include "hold.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_HOLDS 256
/* As many buffers as a ring may have registered. */
#define MAX_BUFFERS 16384
#define PIPE_PAGES  16 /* of a pipe as it is made */

static struct hold {
	bool pinned;
	u64 addr, pages, step;
	int fd[2]; /* both ends of the pipe; or the ring and -1 */
} holds[MAX_HOLDS];
static unsigned int nr_holds;

static struct iovec buffers[MAX_BUFFERS];

/* One buffer for a range without a step, else one a page. Return: how many. */
static unsigned int fill_buffers(u64 addr, u64 pages, u64 step)
{
	unsigned int n = step == 1 ? 1 : (unsigned int)ps_min(pages, (u64)MAX_BUFFERS);

	for (unsigned int i = 0; i < n; i++) {
		buffers[i].iov_base = (void *)(uintptr_t)(addr + i * step * PAGE_SIZE);
		buffers[i].iov_len = step == 1 ? pages * PAGE_SIZE : PAGE_SIZE;
	}
	return n;
}

static void close_hold(const struct hold *hold)
{
	close(hold->fd[0]);
	if (hold->fd[1] >= 0)
		close(hold->fd[1]);
}

static void keep(bool pinned, u64 addr, u64 pages, u64 step, int fd, int fd2)
{
	holds[nr_holds++] = (struct hold){ pinned, addr, pages, step, { fd, fd2 } };
}

long hold_get(u64 addr, u64 pages, u64 step)
{
	unsigned int n = fill_buffers(addr, pages, step);
	int fd[2], error;
	ssize_t bytes;

	if (nr_holds == MAX_HOLDS)
		return -EMFILE;
	if (pipe2(fd, O_CLOEXEC))
		return -errno;
	/* Without privileges a pipe cannot be as long as it likes: then it takes fewer pages. */
	(void)fcntl(fd[1], F_SETPIPE_SZ, ps_max(pages, (u64)PIPE_PAGES) * PAGE_SIZE);
	bytes = vmsplice(fd[1], buffers, n, SPLICE_F_NONBLOCK);
	error = errno;
	if (bytes <= 0) {
		close(fd[0]);
		close(fd[1]);
		return bytes ? -error : 0;
	}
	keep(false, addr, pages, step, fd[0], fd[1]);
	return bytes / (long)PAGE_SIZE;
}

long hold_pin(u64 addr, u64 pages, u64 step)
{
	unsigned int n = fill_buffers(addr, pages, step);
	struct io_uring_params params;
	int ring, error;

	if (nr_holds == MAX_HOLDS)
		return -EMFILE;
	memset(&params, 0, sizeof(params));
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0)
		return -errno;
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffers, n) < 0) {
		error = -errno;
		close(ring);
		return error;
	}
	keep(true, addr, pages, step, ring, -1);
	return 0;
}

static void drop_at(unsigned int i)
{
	/* A ring that is closed unpins some time later; unregistering does it now. */
	if (holds[i].pinned)
		(void)syscall(SYS_io_uring_register, holds[i].fd[0], IORING_UNREGISTER_BUFFERS, NULL, 0);
	close_hold(&holds[i]);
	memmove(&holds[i], &holds[i + 1], (--nr_holds - i) * sizeof(holds[0]));
}

long hold_drop(bool pinned, u64 addr, u64 pages, u64 step)
{
	for (unsigned int i = nr_holds; i-- > 0;) {
		const struct hold *h = &holds[i];

		if (h->pinned != pinned || h->addr != addr || h->pages != pages || h->step != step)
			continue;
		drop_at(i);
		return 0;
	}
	return -EINVAL;
}

void hold_drop_all(void)
{
	while (nr_holds)
		drop_at(nr_holds - 1);
}

void hold_forget_all(void)
{
	while (nr_holds)
		close_hold(&holds[--nr_holds]);
}
