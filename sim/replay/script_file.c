/* SPDX-License-Identifier: MIT */
/*
 * File words, through the page cache: pread, pwrite, fsync, truncate, fadvise.
 */
#include "replay/script_run.h"

#include <pagesim/fault.h>
#include <pagesim/inode.h>

int script_open_file(struct script_run *run, const char *path, bool create, bool write, struct inode **ret)
{
	int error = ps_file_open(run->world->machine->files, path, create, ret);

	if (!error && write && current->unprivileged && !(*ret)->unprivileged) {
		iput(*ret);
		*ret = NULL;
		error = -EACCES;
	}
	return error;
}

static bool get_file(struct script_run *run, bool create, struct inode **ret, struct script_span *span, long *error)
{
	const struct ps_range *range = &run->st->range;

	if (!range->is_file) {
		script_fail(run, "expected a file, found the region %s", range->name);
		return false;
	}
	*error = script_open_file(run, range->name, create, run->st->verb != PS_VERB_PREAD, ret);
	if (*error)
		return false;
	span->name = range->name;
	span->first = range->whole ? 0 : range->first;
	span->step = range->whole ? 1 : range->step;
	span->n = ps_range_pages(range, i_size_pages(*ret));
	return true;
}

static long file(struct script_run *run)
{
	const struct ps_statement *st = run->st;
	struct ps_page_source source;
	struct inode *inode;
	struct script_span span;
	long ret = 0;
	u64 i, word;

	if (!get_file(run, st->verb == PS_VERB_PWRITE, &inode, &span, &ret))
		return ret;
	ps_policy_page_source(&source);
	switch (st->verb) {
	case PS_VERB_PWRITE:
		for (i = 0; i < span.n; i++, ret++) {
			u64 number = span.first + i * span.step;
			int error = file_write_page(inode, number, script_word(st->value, number), &source);

			if (error) {
				ret = error;
				break;
			}
		}
		break;
	case PS_VERB_PREAD:
		for (i = 0; i < span.n; i++, ret++) {
			int got = file_read_page(inode, span.first + i * span.step, &word, &source);

			if (got <= 0) {
				ret = got < 0 ? got : ret;
				break;
			}
		}
		break;
	case PS_VERB_FSYNC:
		ret = file_fsync(inode);
		break;
	case PS_VERB_TRUNCATE:
		ret = file_truncate(inode, st->number << PAGE_SHIFT);
		break;
	default:
		ret = file_fadvise_dontneed(inode, span.first, span.n ? span.first + span.n - 1 : span.first);
		break;
	}
	iput(inode);
	return ret;
}

long verb_pread(struct script_run *run)
{
	return file(run);
}

long verb_pwrite(struct script_run *run)
{
	return file(run);
}

long verb_fsync(struct script_run *run)
{
	return file(run);
}

long verb_truncate(struct script_run *run)
{
	return file(run);
}

long verb_fadvise(struct script_run *run)
{
	return file(run);
}
