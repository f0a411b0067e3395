"""Handle time as data has it: frequencies, timestamps, time zones, calendars."""
