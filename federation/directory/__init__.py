"""What the company's directory and AWS say now, compared with what they said before."""
