// Opened from a disk, a page may not fetch the others: the search then lists titles, without the text around what was found.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
