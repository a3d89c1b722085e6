/* SPDX-License-Identifier: MIT */
/* What a task does with the work it is given: one small function per kind, which makes the system call. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hold.h"

/* Whoever gives up privileges becomes this user. */
#define NOBODY_MUCH 1000
/* How long the player waits before it looks whether the task still lives. */
#define LOOK_AGAIN_NS 50000000

struct office *office;

/* ---- turns ---- */

static void give_turn(struct desk *desk, enum turn to)
{
	__atomic_store_n(&desk->turn, to, __ATOMIC_RELEASE);
	syscall(SYS_futex, &desk->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static bool has_turn(const struct desk *desk, enum turn who)
{
	return __atomic_load_n(&desk->turn, __ATOMIC_ACQUIRE) == who;
}

/* Waits for the turn to change from what it is, or for a while. */
static void wait_for_turn(struct desk *desk, enum turn while_it_is, const struct timespec *for_at_most)
{
	syscall(SYS_futex, &desk->turn, FUTEX_WAIT, while_it_is, for_at_most, NULL, 0);
}

/* Waits until the process is gone, or for @ms. A process that had ended before anybody could open it has no pidfd. */
static bool has_ended(int pidfd, int ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd < 0 || poll(&p, 1, ms) == 1;
}

int work_ask(unsigned int number, int pidfd)
{
	static const struct timespec a_while = { 0, LOOK_AGAIN_NS };
	struct desk *desk = &office->desk[number];

	memset(&desk->answer, 0, sizeof(desk->answer));
	give_turn(desk, TURN_TASK);
	while (!has_turn(desk, TURN_PLAYER)) {
		wait_for_turn(desk, TURN_TASK, &a_while);
		if (!has_turn(desk, TURN_PLAYER) && has_ended(pidfd, 0))
			return -ESRCH;
	}
	return 0;
}

void work_end(unsigned int number, int pidfd, bool thread)
{
	struct desk *desk = &office->desk[number];

	memset(&desk->work, 0, sizeof(desk->work));
	desk->work.kind = WORK_EXIT;
	desk->work.is_thread = thread;
	if (thread) {
		work_ask(number, pidfd);
		return;
	}
	give_turn(desk, TURN_TASK);
	while (!has_ended(pidfd, -1))
		;
}

/* ---- ranges ---- */

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static void *pointer(u64 addr)
{
	return (void *)(uintptr_t)addr;
}

/* One call for the whole range, or one a page where it has a step, until one fails. */
static long each(const struct work *w, long (*call)(const struct work *w, void *addr, size_t bytes))
{
	long ret = 0;

	if (w->step == 1)
		return result(call(w, pointer(w->addr), w->pages * PAGE_SIZE));
	for (u64 i = 0; i < w->pages && !ret; i++)
		ret = result(call(w, pointer(w->addr + i * w->step * PAGE_SIZE), PAGE_SIZE));
	return ret;
}

static long call_munmap(const struct work *w, void *addr, size_t bytes)
{
	(void)w;
	return munmap(addr, bytes);
}

static long call_mprotect(const struct work *w, void *addr, size_t bytes)
{
	return mprotect(addr, bytes, w->prot);
}

static long call_madvise(const struct work *w, void *addr, size_t bytes)
{
	return madvise(addr, bytes, (int)w->number);
}

static long call_mlock(const struct work *w, void *addr, size_t bytes)
{
	(void)w;
	return mlock(addr, bytes);
}

static long call_munlock(const struct work *w, void *addr, size_t bytes)
{
	(void)w;
	return munlock(addr, bytes);
}

/* A mask is as long as it has nodes in it: an empty one is no mask at all. */
static const unsigned long *mask(const unsigned long *nodes, unsigned long *ret_bits)
{
	unsigned int words = NODE_WORDS;

	while (words && !nodes[words - 1])
		words--;
	/* The kernel takes one bit less than it is told. */
	*ret_bits = words ? words * 64UL + 1 : 0;
	return words ? nodes : NULL;
}

static long call_mbind(const struct work *w, void *addr, size_t bytes)
{
	unsigned long bits;
	const unsigned long *nodes = mask(w->nodes, &bits);

	return syscall(SYS_mbind, addr, bytes, (int)w->number, nodes, bits, (unsigned int)w->flags);
}

/* ---- touching ---- */

static __thread sigjmp_buf after_fault;
static __thread volatile sig_atomic_t fault_signal;

static void on_fault(int signal)
{
	fault_signal = signal;
	siglongjmp(after_fault, 1);
}

/* The word of a page: of the value of the store and of the page's number. */
static u64 word_of(u64 value, u64 page)
{
	u64 word = (value + 1) * 0x9E3779B97F4A7C15ULL ^ (page + 1) * 0xC2B2AE3D27D4EB4FULL;

	return word ? word : 1;
}

static long do_touch(const struct work *w, struct answer *answer)
{
	volatile u64 i = 0;
	volatile long wrong = 0;

	if (sigsetjmp(after_fault, 1)) {
		answer->faulted = true;
		answer->fault_index = i;
		answer->fault_signal = fault_signal;
		return -EFAULT;
	}
	for (; i < w->pages; i++) {
		volatile u64 *at = pointer(w->addr + i * w->step * PAGE_SIZE);
		u64 word = word_of(w->value, w->first + i * w->step);

		if (w->kind == WORK_STORE)
			*at = word;
		else if (*at != word)
			wrong++;
	}
	return wrong;
}

/* ---- files ---- */

static long do_mmap(const struct work *w)
{
	u64 bytes = w->pages * PAGE_SIZE, end = w->number * PAGE_SIZE + bytes;
	int fd = -1, flags = w->flags | MAP_FIXED_NOREPLACE;
	struct stat st;
	long ret = 0;

	if (*w->path) {
		fd = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
		if (fd < 0)
			return -errno;
		/* Where the file cannot grow, the mapping still can be made. */
		if (!fstat(fd, &st) && (u64)st.st_size < end && ftruncate(fd, (off_t)end))
			ret = 0;
	} else {
		flags |= MAP_ANONYMOUS;
	}
	if (mmap(pointer(w->addr), bytes, w->prot, flags, fd, (off_t)(w->number * PAGE_SIZE)) == MAP_FAILED)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

/* Page by page, a whole page each. */
static long do_read_write(const struct work *w)
{
	static char page[PAGE_SIZE] __attribute__((aligned(4096)));
	bool writing = w->kind == WORK_PWRITE;
	int fd = open(w->path, (writing ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);
	long done = 0;

	if (fd < 0)
		return -errno;
	for (u64 i = 0; i < w->pages; i++, done++) {
		u64 number = w->first + i * w->step, word = word_of(w->value, number);
		off_t at = (off_t)(number * PAGE_SIZE);
		ssize_t n;

		if (writing) {
			memset(page, 0, sizeof(page));
			memcpy(page, &word, sizeof(word));
			n = pwrite(fd, page, sizeof(page), at);
		} else {
			n = pread(fd, page, sizeof(page), at);
		}
		if (n < 0)
			done = -errno;
		if (n <= 0)
			break;
	}
	close(fd);
	return done;
}

static long do_file(const struct work *w)
{
	int fd = open(w->path, O_RDWR | O_CLOEXEC);
	long ret;

	if (fd < 0)
		return -errno;
	if (w->kind == WORK_FSYNC)
		ret = result(fsync(fd));
	else if (w->kind == WORK_TRUNCATE)
		ret = result(ftruncate(fd, (off_t)(w->number * PAGE_SIZE)));
	else
		ret = -posix_fadvise(fd, (off_t)(w->first * PAGE_SIZE), (off_t)(w->pages * PAGE_SIZE),
				     POSIX_FADV_DONTNEED);
	close(fd);
	return ret;
}

/* ---- tasks ---- */

static char stacks[MAX_THREADS][64 << 10] __attribute__((aligned(4096)));
static unsigned int stacks_used;

static void serve(unsigned int desk);

static void *thread_main(void *desk)
{
	serve((unsigned int)(uintptr_t)desk);
	return NULL;
}

/*
 * The child takes nothing along but memory: no descriptor of its parent, no reference. What its parent was told is the player's
 * again as soon as the parent answers, so the child's desk is read before.
 */
static long do_fork(const struct work *w)
{
	unsigned int desk = w->desk;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (!child) {
		hold_forget_all();
		work_at(desk);
	}
	return child;
}

static long do_thread(const struct work *w)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (stacks_used == MAX_THREADS)
		return -EAGAIN;
	pthread_attr_init(&attributes);
	pthread_attr_setstack(&attributes, stacks[stacks_used], sizeof(stacks[0]));
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	error = pthread_create(&thread, &attributes, thread_main, (void *)(uintptr_t)w->desk);
	pthread_attr_destroy(&attributes);
	if (error)
		return -error;
	stacks_used++;
	return 0;
}

static long do_cpu(const struct work *w)
{
	cpu_set_t set;

	if (w->number >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(w->number, &set);
	return result(sched_setaffinity(0, sizeof(set), &set));
}

/* Of all threads, which the C library sees to. Looking at the process must stay allowed. */
static long do_unprivileged(void)
{
	long ret = result(setresuid(NOBODY_MUCH, NOBODY_MUCH, NOBODY_MUCH));

	prctl(PR_SET_DUMPABLE, 1);
	return ret;
}

static long do_policy(const struct work *w)
{
	unsigned long bits;
	const unsigned long *nodes = mask(w->nodes, &bits);

	return result(syscall(SYS_set_mempolicy, (int)w->number, nodes, bits));
}

static long do_migrate(const struct work *w)
{
	unsigned long bits, from, to;

	/* Both masks have one length. */
	mask(w->nodes, &from);
	mask(w->to_nodes, &to);
	bits = ps_max(from, to);
	bits = ps_max(bits, 65UL);
	return result(syscall(SYS_migrate_pages, 0, bits, w->nodes, w->to_nodes));
}

static long do_move(const struct work *w)
{
	return result(syscall(SYS_move_pages, 0, (unsigned long)w->pages, office->page, w->number ? office->node : NULL,
			      office->status, w->flags));
}

static long do_mremap(const struct work *w)
{
	size_t bytes = w->pages * PAGE_SIZE;

	if (mremap(pointer(w->addr), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, pointer(w->to)) == MAP_FAILED)
		return -errno;
	return 0;
}

static long do_work(const struct work *w, struct answer *answer)
{
	switch (w->kind) {
	case WORK_FORK:
		return do_fork(w);
	case WORK_THREAD:
		return do_thread(w);
	case WORK_CPU:
		return do_cpu(w);
	case WORK_UNPRIVILEGED:
		return do_unprivileged();
	case WORK_MMAP:
		return do_mmap(w);
	case WORK_MUNMAP:
		return each(w, call_munmap);
	case WORK_MPROTECT:
		return each(w, call_mprotect);
	case WORK_MREMAP:
		return do_mremap(w);
	case WORK_MADVISE:
		return each(w, call_madvise);
	case WORK_MLOCK:
		return each(w, call_mlock);
	case WORK_MUNLOCK:
		return each(w, call_munlock);
	case WORK_MEMPOLICY:
		return do_policy(w);
	case WORK_MBIND:
		return each(w, call_mbind);
	case WORK_LOAD:
	case WORK_STORE:
	case WORK_CHECK:
		return do_touch(w, answer);
	case WORK_PREAD:
	case WORK_PWRITE:
		return do_read_write(w);
	case WORK_FSYNC:
	case WORK_TRUNCATE:
	case WORK_FADVISE:
		return do_file(w);
	case WORK_GET:
		return hold_get(w->addr, w->pages, w->step);
	case WORK_PIN:
		return hold_pin(w->addr, w->pages, w->step);
	case WORK_PUT:
	case WORK_UNPIN:
		return hold_drop(w->kind == WORK_UNPIN, w->addr, w->pages, w->step);
	case WORK_MOVE_PAGES:
		return do_move(w);
	case WORK_MIGRATE_PAGES:
		return do_migrate(w);
	case WORK_EXIT:
	case WORK_KINDS:
		break;
	}
	return -ENOSYS;
}

/* Works until it is told to end. Returns only when the thread ends alone. */
static void serve(unsigned int number)
{
	struct desk *desk = &office->desk[number];

	for (;;) {
		enum turn turn;

		while ((turn = __atomic_load_n(&desk->turn, __ATOMIC_ACQUIRE)) != TURN_TASK)
			wait_for_turn(desk, turn, NULL);
		if (desk->work.kind == WORK_EXIT)
			break;
		desk->answer.ret = do_work(&desk->work, &desk->answer);
		give_turn(desk, TURN_PLAYER);
	}
	if (!desk->work.is_thread) {
		hold_drop_all();
		_exit(0);
	}
	give_turn(desk, TURN_PLAYER);
}

void work_at(unsigned int desk)
{
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	signal(SIGCHLD, SIG_IGN);
	serve(desk);
	_exit(0);
}
