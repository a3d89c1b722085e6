/* SPDX-License-Identifier: MIT */
/*
 * Events: what the recorded programs asked of their kernel, asked of the simulated one. A table says for each kind which
 * function replays it; all but the birth and death of tasks run inside the task they belong to.
 *
 * The recorded system answered already, so a call that fails here is no error: the simulated memory differs (a part of a
 * range was never mapped because nothing told the recorder) and the trace goes on as it was. Such calls are counted
 * (ignored). Only running out of memory ends a replay, and what no system could have said.
 */
#include "replay/run.h"

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/mempolicy.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/pagemap.h>
#include <pagesim/policy.h>

/* Linux reads and writes no more at once. */
#define MAX_IO_BYTES 0x7ffff000ULL
/* Files end here: 2^51 bytes, so that page numbers times anything in here stay within 64 bits. */
#define MAX_FILE_BYTES (1ULL << 51)

/* ---- tasks */

static int place(struct ps_replay *r)
{
	const struct ps_machine *m = r->machine;
	unsigned nodes = (unsigned)nodes_weight(m->cpu_nodes), turn = r->placed++;
	unsigned which = 0, cpu;
	nid_t nid = first_node(m->cpu_nodes);

	if (r->set.placement == PS_PLACE_CPU0)
		return 0;
	if (r->set.placement == PS_PLACE_SPREAD) {
		unsigned skip = turn % nodes;

		for_each_node_mask(nid, m->cpu_nodes) if (!skip--) break;
		turn /= nodes;
	}
	turn %= m->nodes[nid].nr_cpus;
	for (cpu = 0; cpu < m->nr_cpus; cpu++)
		if (m->cpus[cpu].node == nid && which++ == turn)
			break;
	return (int)cpu;
}

/* The place of a new task in the table. Return: NULL with the error recorded. */
static struct replay_task *new_slot(struct ps_replay *r, u32 number)
{
	if (number >= PS_TASK_MAX) {
		replay_fail(r, PS_REPLAY_ERROR_TRACE, "task number %u is too large", number);
		return NULL;
	}
	if (number >= r->tasks.n) {
		size_t more = number + 1 - r->tasks.n;

		if (!ps_grow_reserve(&r->tasks, more, sizeof(struct replay_task))) {
			replay_fail(r, PS_REPLAY_ERROR_MEMORY, "out of host memory");
			return NULL;
		}
		memset(replay_task_at(r, r->tasks.n), 0, more * sizeof(struct replay_task));
		r->tasks.n += more;
	}
	if (replay_task_at(r, number)->task) {
		replay_fail(r, PS_REPLAY_ERROR_TRACE, "task %u starts twice", number);
		return NULL;
	}
	return replay_task_at(r, number);
}

/* Return: NULL without memory. */
static struct replay_space *space_new(void)
{
	struct replay_space *space = ps_zalloc(sizeof(*space));

	if (space)
		space->users = 1;
	return space;
}

static const char *base_name(const char *command, char *buf, size_t size)
{
	size_t length = strcspn(command, " ");

	g_strlcpy(buf, command, ps_min(length + 1, size));
	return strrchr(buf, '/') ? strrchr(buf, '/') + 1 : buf;
}

bool replay_start_task(struct ps_replay *r, u32 number, const char *command)
{
	struct replay_task *t = new_slot(r, number);
	char name[64];

	if (!t)
		return false;
	t->task = ps_world_start(r->world, base_name(command, name, sizeof(name)), place(r));
	t->space = t->task ? space_new() : NULL;
	if (!t->space)
		return replay_fail_errno(r, -ENOMEM, "start of a process");
	r->processes++;
	r->threads++;
	return true;
}

static bool start(struct ps_replay *r, const struct ps_event *e)
{
	return replay_start_task(r, e->task, e->name);
}

/* fork and thread */
static bool clone(struct ps_replay *r, const struct ps_event *e)
{
	bool thread = e->kind == PS_EVENT_THREAD;
	struct replay_task *t = new_slot(r, e->other), *parent;
	struct task_struct *task = NULL;
	int error;

	if (!t)
		return false;
	parent = replay_enter(r, e->task);
	if (!parent)
		return false;
	t = replay_task_at(r, e->other);
	error = thread ? ps_world_thread(r->world, current->comm, &task)
		       : ps_world_fork(r->world, current->comm, &task);
	replay_leave(r);
	if (error)
		return replay_fail_errno(r, error, thread ? "start of a thread" : "fork");
	t->task = task;
	task->cpu = place(r);
	r->threads++;
	if (thread) {
		t->space = parent->space;
		t->space->users++;
		return true;
	}
	r->processes++;
	t->space = space_new();
	if (!t->space)
		return replay_fail_errno(r, -ENOMEM, "fork");
	t->space->heap_start = parent->space->heap_start;
	t->space->heap_end = parent->space->heap_end;
	return true;
}

void replay_policy_exit(struct ps_replay *r, struct replay_task *t)
{
	if (!t->policy_told)
		ps_policy_task_exit(r->policy, t->task);
	t->policy_told = true;
}

void replay_end_task(struct ps_replay *r, struct replay_task *t)
{
	struct task_struct *task = t->task;

	if (!task)
		return;
	for (int c = 0; c < PS_NR_TIME_CLASSES; c++)
		r->program.ns[c] += task->time[c];
	if (r->last == task)
		r->last = NULL;
	replay_policy_exit(r, t);
	ps_world_exit(r->world, task);
	if (t->space && !--t->space->users)
		ps_free(t->space);
	t->task = NULL;
	t->space = NULL;
	t->gone = true;
}

static bool end(struct ps_replay *r, const struct ps_event *e)
{
	struct replay_task *t = replay_enter(r, e->task);

	if (!t)
		return false;
	replay_note_peak(r);
	replay_policy_exit(r, t);
	/* ps_world_exit() leaves no task to read its time from: the address space goes while the task is still there. */
	if (t->space->users == 1) {
		struct mm_struct *mm = current->mm;

		current->mm = NULL;
		mmput(mm);
	}
	replay_leave(r);
	replay_end_task(r, t);
	return true;
}

static int do_exec(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	struct mm_struct *mm = mm_alloc(r->machine), *old = current->mm;
	char name[64];

	if (!mm)
		return -ENOMEM;
	replay_note_peak(r);
	current->mm = mm;
	mmput(old);
	if (t->space->users > 1) {
		struct replay_space *space = space_new();

		if (!space)
			return -ENOMEM;
		t->space->users--;
		t->space = space;
	}
	t->space->heap_start = t->space->heap_end = 0;
	g_strlcpy(current->comm, base_name(e->name, name, sizeof(name)), sizeof(current->comm));
	return 0;
}

/* ---- address spaces */

static u64 bytes_of(u64 pages)
{
	return pages << PAGE_SHIFT;
}

static unsigned int prot_of(u32 prot)
{
	return (prot & PS_PROT_READ ? MM_PROT_READ : 0) | (prot & PS_PROT_WRITE ? MM_PROT_WRITE : 0) |
	       (prot & PS_PROT_EXEC ? MM_PROT_EXEC : 0);
}

/* What importers call memory that only looks like a file, and the folder where such files have names. */
static bool in_memory(const char *name)
{
	return g_str_has_prefix(name, "memfd:") || g_str_has_prefix(name, "shm:") ||
	       g_str_has_prefix(name, "/dev/shm/");
}

/* The simulated file of a recorded path, without a reference of its own. Return: 0, -ENOMEM, -EINVAL. */
static int file_of(struct ps_replay *r, const char *name, struct inode **ret_inode)
{
	struct replay_file **bucket = &r->files[g_str_hash(name) % REPLAY_FILES], *file;
	const char *below = in_memory(name) ? (name[0] == '/' ? "/t" : "/t/") : name[0] == '/' ? "/d" : "/d/";
	size_t length = strlen(name), room = length + strlen(below) + 1;
	char *path;
	int error;

	for (file = *bucket; file; file = file->next) {
		if (!strcmp(file->name, name)) {
			*ret_inode = file->inode;
			return 0;
		}
	}
	file = ps_zalloc(sizeof(*file) + length + 1);
	path = ps_alloc(room);
	if (!file || !path) {
		error = -ENOMEM;
		goto out_free;
	}
	g_snprintf(path, room, "%s%s", below, name);
	/* A directory can be opened, too. */
	for (length = strlen(path); length && path[length - 1] == '/'; length--)
		path[length - 1] = '\0';
	error = ps_file_open(r->machine->files, path, true, &file->inode);
	if (error)
		goto out_free;
	strcpy(file->name, name);
	file->next = *bucket;
	*bucket = file;
	*ret_inode = file->inode;
	ps_free(path);
	return 0;
out_free:
	ps_free(path);
	ps_free(file);
	return error;
}

/* Touching more than the machine has cannot end well, and tables for it would be filled first. */
static bool too_much(struct ps_replay *r, u64 pages)
{
	return pages > r->machine->total_pages;
}

static int do_event_mmap(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	u32 filled = too_much(r, e->pages) ? 0 : e->flags & (PS_MAP_POPULATE | PS_MAP_LOCKED);
	unsigned int flags = MM_MAP_FIXED | (e->flags & PS_MAP_SHARED ? MM_MAP_SHARED : 0) |
			     (filled & PS_MAP_POPULATE ? MM_MAP_POPULATE : 0);
	struct inode *inode = NULL;
	int error;

	if (*e->name) {
		if (e->offset > MAX_FILE_BYTES - bytes_of(e->pages))
			return -EINVAL;
		error = file_of(r, e->name, &inode);
		if (error)
			return error;
		file_extend(inode, e->offset + bytes_of(e->pages));
	}
	replay_note_peak(r);
	error = do_mmap(current->mm, bytes_of(e->vpn), bytes_of(e->pages), prot_of(e->prot), flags, inode,
			e->offset >> PAGE_SHIFT);
	if (!error && filled & PS_MAP_LOCKED)
		error = do_mlock(current->mm, bytes_of(e->vpn), bytes_of(e->pages));
	if (!error && filled != (e->flags & (PS_MAP_POPULATE | PS_MAP_LOCKED)))
		error = -EAGAIN;
	return error;
}

static int do_event_munmap(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	replay_note_peak(r);
	return do_munmap(current->mm, bytes_of(e->vpn), bytes_of(e->pages));
}

/* Maps the holes of [from, to) as anonymous memory: the program has all of it, whatever the recorder knew of before. */
static int map_holes(struct mm_struct *mm, u64 from, u64 to)
{
	int error = 0;

	while (!error && from < to) {
		struct vm_area_struct *vma = find_vma_intersection(mm, from, to);
		u64 end = vma ? vma->vm_start : to;

		if (vma && vma->vm_start <= from) {
			from = vma->vm_end;
			continue;
		}
		error = do_mmap(mm, from, end - from, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_FIXED_NOREPLACE, NULL, 0);
		from = end;
	}
	return error;
}

static int do_event_brk(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	struct replay_space *space = t->space;
	u64 start = bytes_of(e->vpn), end = start + bytes_of(e->pages),
	    old = space->heap_start == start ? space->heap_end : start;

	space->heap_start = start;
	space->heap_end = end;
	replay_note_peak(r);
	if (end > old)
		return map_holes(current->mm, old, end);
	if (end < old)
		return do_munmap(current->mm, end, old - end);
	return 0;
}

/* Calls fn for each mapped piece of [start, end) inside one VMA. Return: the first error but -EINVAL and -EACCES. */
static int each_vma(u64 start, u64 end, int (*fn)(u64 start, u64 end, u64 arg), u64 arg, bool *ret_refused)
{
	struct mm_struct *mm = current->mm;

	while (start < end) {
		struct vm_area_struct *vma = find_vma_intersection(mm, start, end);
		u64 from, to;
		int error;

		if (!vma)
			break;
		from = ps_max(start, vma->vm_start);
		to = ps_min(end, vma->vm_end);
		error = fn(from, to, arg);
		if (error == -ENOMEM)
			return error;
		*ret_refused |= error != 0;
		start = to;
	}
	return 0;
}

static int protect_piece(u64 start, u64 end, u64 prot)
{
	return do_mprotect(current->mm, start, end - start, (unsigned int)prot);
}

static int do_event_mprotect(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	bool refused = false;
	int error = each_vma(bytes_of(e->vpn), bytes_of(e->vpn + e->pages), protect_piece, prot_of(e->prot), &refused);

	return error ? error : refused ? -EINVAL : 0;
}

/* Advice of the trace as the model knows it. Return: -ENOENT when it does not. */
static int advice_of(int advice)
{
	switch (advice) {
	case PS_ADVICE_DONTNEED:
		return PS_MADV_DONTNEED;
	case PS_ADVICE_HUGEPAGE:
		return PS_MADV_HUGEPAGE;
	case PS_ADVICE_NOHUGEPAGE:
		return PS_MADV_NOHUGEPAGE;
	case PS_ADVICE_REMOVE:
		return PS_MADV_REMOVE;
	case PS_ADVICE_POPULATE_READ:
		return PS_MADV_POPULATE_READ;
	case PS_ADVICE_POPULATE_WRITE:
		return PS_MADV_POPULATE_WRITE;
	case PS_ADVICE_WILLNEED:
		return PS_MADV_WILLNEED;
	case PS_ADVICE_DONTFORK:
		return PS_MADV_DONTFORK;
	case PS_ADVICE_DOFORK:
		return PS_MADV_DOFORK;
	case PS_ADVICE_COLD:
		return PS_MADV_COLD;
	case PS_ADVICE_PAGEOUT:
		return PS_MADV_PAGEOUT;
	case PS_ADVICE_FREE:
		return PS_MADV_FREE;
	case PS_ADVICE_COLLAPSE:
		return PS_MADV_COLLAPSE;
	default:
		return -ENOENT;
	}
}

static int advise_piece(u64 start, u64 end, u64 advice)
{
	return do_madvise(current->mm, start, end - start, (enum ps_madvice)advice);
}

static int do_event_madvise(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	int advice = advice_of(e->advice), error;
	bool refused = false;

	if (advice < 0)
		return -ENOENT;
	if ((advice == PS_MADV_POPULATE_READ || advice == PS_MADV_POPULATE_WRITE) && too_much(r, e->pages))
		return -EAGAIN;
	replay_note_peak(r);
	error = each_vma(bytes_of(e->vpn), bytes_of(e->vpn + e->pages), advise_piece, (u64)advice, &refused);
	return error ? error : refused ? -EINVAL : 0;
}

/* Moves [from, from + len) to `to`, mapping by mapping. */
static int move_pieces(struct mm_struct *mm, u64 from, u64 len, u64 to)
{
	u64 end = from + len;
	int error = do_munmap(mm, to, len);

	while (!error && from < end) {
		struct vm_area_struct *vma = find_vma_intersection(mm, from, end);
		u64 start, stop;

		if (!vma)
			break;
		start = ps_max(from, vma->vm_start);
		stop = ps_min(end, vma->vm_end);
		to += start - from;
		error = do_mremap(mm, start, stop - start, to);
		to += stop - start;
		from = stop;
	}
	return error;
}

/* More of the mapping that ends at `end`, of the same kind. */
static int grow(struct mm_struct *mm, u64 end, u64 len)
{
	struct vm_area_struct *vma = vma_lookup(mm, end - PAGE_SIZE);
	unsigned int prot = MM_PROT_READ | MM_PROT_WRITE, flags = MM_MAP_FIXED;
	struct inode *inode = NULL;
	pgoff_t pgoff = 0;

	if (vma) {
		prot = (vma->vm_flags & VM_READ ? MM_PROT_READ : 0) | (vma->vm_flags & VM_WRITE ? MM_PROT_WRITE : 0) |
		       (vma->vm_flags & VM_EXEC ? MM_PROT_EXEC : 0);
		flags |= vma->vm_flags & VM_SHARED ? MM_MAP_SHARED : 0;
		if (!vma_is_anonymous(vma)) {
			inode = vma->vm_mapping->host;
			pgoff = linear_page_index(vma, end - PAGE_SIZE) + 1;
			file_extend(inode, (pgoff << PAGE_SHIFT) + len);
		}
	}
	return do_mmap(mm, end, len, prot, flags, inode, pgoff);
}

static int do_event_mremap(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	u64 from = bytes_of(e->vpn), len = bytes_of(e->pages), to = bytes_of(e->to_vpn), to_len = bytes_of(e->to_pages);
	u64 kept = ps_min(len, to_len);
	struct mm_struct *mm = current->mm;
	int error = 0;

	if (!to_len)
		return -EINVAL;
	replay_note_peak(r);
	if (to_len < len)
		error = do_munmap(mm, from + kept, len - kept);
	if (!error && to != from && kept) {
		/* A program cannot move a range onto itself. */
		if (from + kept > to && to + kept > from)
			return -EINVAL;
		error = move_pieces(mm, from, kept, to);
	}
	if (!error && to_len > kept)
		error = grow(mm, to + kept, to_len - kept);
	return error;
}

/* ---- files */

static int do_event_open(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	struct inode *inode;

	ps_charge(r->machine->costs.syscall_ns, PS_TIME_SYSCALL);
	return *e->name ? file_of(r, e->name, &inode) : 0;
}

/* The kernel touches the caller's buffer, page by page, and copies. */
static int copy_user(struct ps_replay *r, const struct ps_event *e, bool write)
{
	nid_t cpu_nid = numa_node_id(), nid = cpu_nid;
	u64 i, pages = ps_min(e->pages, (e->length >> PAGE_SHIFT) + 2);

	for (i = 0; i < pages; i++) {
		u64 addr = bytes_of(e->vpn + i);
		struct ps_access access = { .nid = nid };
		int error = -EFAULT;

		if (addr < task_size(&current->mm->pt))
			error = ps_mmu_access(addr, write, &access);
		if (error == -ENOMEM)
			return error;
		r->refused += error != 0;
		nid = access.nid;
	}
	if (e->length)
		ps_charge(ps_copy_ns(r->machine, cpu_nid, nid, nid, e->length), PS_TIME_SYSCALL);
	return 0;
}

static int do_event_io(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	bool write = e->kind == PS_EVENT_WRITE;
	struct inode *inode;
	u64 index, end, word;
	int error;

	if (e->length > MAX_IO_BYTES || e->offset > MAX_FILE_BYTES)
		return -EINVAL;
	ps_charge(r->machine->costs.syscall_ns, PS_TIME_SYSCALL);
	if (!e->length)
		return 0;
	error = copy_user(r, e, !write);
	if (error || !*e->name)
		return error;
	error = file_of(r, e->name, &inode);
	if (error)
		return error;
	/* What was read was there. */
	if (!write)
		file_extend(inode, e->offset + e->length);
	end = (e->offset + e->length - 1) >> PAGE_SHIFT;
	for (index = e->offset >> PAGE_SHIFT; index <= end; index++) {
		error = write ? file_write_page(inode, index, 0, NULL) : file_read_page(inode, index, &word, NULL);
		if (error < 0)
			return error;
		cond_resched();
	}
	return 0;
}

static int do_event_truncate(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	struct inode *inode;
	int error = e->length > MAX_FILE_BYTES || !*e->name ? -EINVAL : file_of(r, e->name, &inode);

	ps_charge(r->machine->costs.syscall_ns, PS_TIME_SYSCALL);
	replay_note_peak(r);
	return error ? error : file_truncate(inode, e->length);
}

static int do_event_fsync(struct ps_replay *r, struct replay_task *t, const struct ps_event *e)
{
	struct inode *inode;
	int error = !*e->name ? -EINVAL : file_of(r, e->name, &inode);

	ps_charge(r->machine->costs.syscall_ns, PS_TIME_SYSCALL);
	return error ? error : file_fsync(inode);
}

/* ---- the table */

/* One of the two: what runs outside any task, and what runs inside its own. */
static const struct {
	bool (*outside)(struct ps_replay *r, const struct ps_event *e);
	int (*inside)(struct ps_replay *r, struct replay_task *t, const struct ps_event *e);
} kinds[PS_EVENT_KINDS] = {
	[PS_EVENT_START] = { start, NULL },
	[PS_EVENT_FORK] = { clone, NULL },
	[PS_EVENT_THREAD] = { clone, NULL },
	[PS_EVENT_EXEC] = { NULL, do_exec },
	[PS_EVENT_EXIT] = { end, NULL },
	[PS_EVENT_MMAP] = { NULL, do_event_mmap },
	[PS_EVENT_MUNMAP] = { NULL, do_event_munmap },
	[PS_EVENT_MREMAP] = { NULL, do_event_mremap },
	[PS_EVENT_MPROTECT] = { NULL, do_event_mprotect },
	[PS_EVENT_BRK] = { NULL, do_event_brk },
	[PS_EVENT_MADVISE] = { NULL, do_event_madvise },
	[PS_EVENT_OPEN] = { NULL, do_event_open },
	[PS_EVENT_READ] = { NULL, do_event_io },
	[PS_EVENT_WRITE] = { NULL, do_event_io },
	[PS_EVENT_TRUNCATE] = { NULL, do_event_truncate },
	[PS_EVENT_FSYNC] = { NULL, do_event_fsync },
};

/* Does a range lie in the address space? */
static bool range_fits(const struct page_tables *pt, u64 vpn, u64 pages)
{
	u64 end = task_size(pt) >> PAGE_SHIFT;

	return vpn <= end && pages <= end - vpn;
}

bool replay_event(struct ps_replay *r, const struct ps_event *e)
{
	const char *word = e->kind < PS_EVENT_KINDS ? ps_event_word(e->kind) : "?";
	struct replay_task *t;
	unsigned int fields;
	int error = -ERANGE;

	if (e->kind == PS_EVENT_STATEMENT)
		return replay_fail(r, PS_REPLAY_ERROR_SCRIPT, "statements of the trace language are run as a script");
	if (e->kind >= PS_EVENT_KINDS || (!kinds[e->kind].outside && !kinds[e->kind].inside))
		return replay_fail(r, PS_REPLAY_ERROR_TRACE, "event of unknown kind %d", (int)e->kind);
	if (kinds[e->kind].outside)
		return kinds[e->kind].outside(r, e);
	t = replay_enter(r, e->task);
	if (!t)
		return false;
	fields = ps_event_fields(e->kind);
	if ((!(fields & PS_FIELD_RANGE) || range_fits(&current->mm->pt, e->vpn, e->pages)) &&
	    (!(fields & PS_FIELD_TO) || range_fits(&current->mm->pt, e->to_vpn, e->to_pages)))
		error = kinds[e->kind].inside(r, t, e);
	replay_leave(r);
	if (error == -ENOMEM)
		return replay_fail_errno(r, error, word);
	if (error == -ERANGE)
		return replay_fail(r, PS_REPLAY_ERROR_TRACE,
				   "%s of pages 0x%" G_GINT64_MODIFIER "x and %" G_GUINT64_FORMAT
				   " more: an address space of this machine is smaller",
				   word, e->vpn, e->pages);
	r->ignored += error != 0;
	return true;
}
