/* SPDX-License-Identifier: MIT */
/* The table behind pagesim/quirks.def, and the set the running task's runtime has chosen. */
#include <string.h>

#include <pagesim/quirks.h>

static const struct quirk {
	const char *name;
	int year;
	const char *text;
} quirks[PS_NR_QUIRKS + 1] = {
#define PS_QUIRK(id, name, year, text) { name, year, text },
#include PS_QUIRKS_DEF
#undef PS_QUIRK
	{ NULL, 0, NULL },
};

static const struct ps_quirk_set no_quirks;

__thread const struct ps_quirk_set *ps_quirks_on = &no_quirks;

void ps_quirks_use(const struct ps_quirk_set *set)
{
	ps_quirks_on = set ? set : &no_quirks;
}

/* The entry of an id; the empty one at the end of the table for an id outside the list. */
static const struct quirk *quirk_of(int id)
{
	return &quirks[id >= 0 && id < (int)PS_NR_QUIRKS ? id : (int)PS_NR_QUIRKS];
}

int ps_quirk_set_enable(struct ps_quirk_set *set, int id, bool on)
{
	if (!quirk_of(id)->name)
		return -EINVAL;
	if (on)
		set->on[id / 64] |= (u64)1 << (id % 64);
	else
		set->on[id / 64] &= ~((u64)1 << (id % 64));
	return 0;
}

int ps_quirk_by_name(const char *name)
{
	int id;

	for (id = 0; quirks[id].name; id++)
		if (!strcmp(quirks[id].name, name))
			return id;
	return -EINVAL;
}

const char *ps_quirk_name(int id)
{
	return quirk_of(id)->name;
}

int ps_quirk_year(int id)
{
	return quirk_of(id)->year;
}

const char *ps_quirk_text(int id)
{
	return quirk_of(id)->text;
}
