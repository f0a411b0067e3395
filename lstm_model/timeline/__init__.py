"""Time as data has it: frequencies, timestamps, time zones, calendars."""
