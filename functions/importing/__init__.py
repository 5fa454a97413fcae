"""Chats from elsewhere: what stands in a file that somebody brings, as chats and messages of ours."""
